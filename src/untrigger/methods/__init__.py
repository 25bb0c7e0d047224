"""The contract that purifiers, detectors and scanners share."""
