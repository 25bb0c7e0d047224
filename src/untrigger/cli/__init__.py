"""The command line: it builds one validated request, calls the pipeline and prints the result. It computes nothing."""
