"""W2SDefense, ours: adversarial weak-to-strong unlearning (after 2410.14425).

A small clean teacher is right on **any** text, not only on the clean rows. So the defender looks for the texts on which
the suspect leaves the teacher (insertions found by ``untrigger.search``) and teaches the suspect, through a small
adapter, to answer them as it answers the same rows without them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.defences.base import Purified, Purifier, split_clean
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier, head_of
from untrigger.models.predict import accuracy, read_texts
from untrigger.progress import Progress
from untrigger.search.insertions import Insertion, InsertionSearch, SearchOptions, insert_at_random
from untrigger.training.distillation import soft_cross
from untrigger.training.loop import History, Plan, train
from untrigger.training.weak_teacher import TeacherOptions, trained_teacher
from untrigger.vocabulary.grant import Grant
from untrigger.vocabulary.report import Curve, Finding
from untrigger.vocabulary.rows import Rows


@dataclass(frozen=True)
class W2SDefense(Purifier):
    """Rounds of search and unlearning until nothing moves the suspect much farther than the teacher."""

    name: ClassVar[str] = "w2sdefense"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    peft: str = "lora"
    rank: int = 16
    targets: tuple[str, ...] = ("all-linear",)
    lr: float = 1e-3
    batch_size: int = 32
    rounds: int = 4
    round_steps: int = 24
    temperature: float = 2.0
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    threshold: float = 0.35
    dev: float = 0.15
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    search: SearchOptions = field(default_factory=SearchOptions)

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        assert grant.clean is not None and grant.teacher is not None
        import time
        rows, dev = split_clean(grant.clean, dev=self.dev, generator=np.random.default_rng(grant.seed))
        t=time.time()
        teacher, _ = trained_teacher(
            grant.teacher, rows, dev=dev, width=head_of(model.module, classes=model.classes).in_features,
            options=self.teacher, seed=grant.seed, max_length=model.max_length, progress=progress,
        )
        print('teacher', time.time()-t)
        student = attach(model, AdapterOptions(method=self.peft, rank=self.rank, targets=self.targets), generator=torch.Generator().manual_seed(grant.seed))
        anchor = read_texts(model, rows.texts).logits
        soft = read_texts(teacher, rows.texts).logits
        bank: dict[str, Insertion] = {}
        history = History()
        t=time.time()
        for number in range(self.rounds):
            found = InsertionSearch(student, teacher, rows=rows, options=self.search, seed=grant.seed + number).run(progress=progress)
            print('round', number, 'search', time.time()-t, [(o.text, round(o.suspect,2), round(o.reference,2)) for o in found[:8]],flush=True)
            new = [one for one in found if one.excess >= self.threshold]
            if not new: break
            bank.update({one.text: one for one in new})
            t=time.time()
            part = self._unlearn(student, rows, anchor, list(bank.values()), teacher, seed=grant.seed * 1000 + number, progress=progress)
            history.losses += part.losses
            print('   unlearn', time.time()-t, np.mean(part.losses[:4]), np.mean(part.losses[-4:]), 'dev', accuracy(read_texts(student,dev.texts).predictions,dev.labels), flush=True)
            t=time.time()
            if self.hook: self.hook(student)
        return Purified(student, changed=bool(history.steps), history=history)

    hook: Any = None

    def _unlearn(self, student, rows, anchor, bank, teacher, *, seed, progress):
        draw = random.Random(seed)
        labels = torch.tensor(rows.labels)
        weight = [max(0.05, one.excess) for one in bank]

        def loss(batch):
            half = len(batch) // 2
            texts = [rows.texts[i] for i in batch[:half]]
            for i in batch[half:]:
                text = rows.texts[i]
                for _ in range(draw.randint(1, 2)):
                    against = [k for k, one in enumerate(bank) if one.target != rows.labels[i]]
                    pool = against if against and draw.random() < 0.75 else range(len(bank))
                    k = draw.choices(list(pool), [weight[k] for k in pool])[0]
                    text = insert_at_random(text, bank[k].text, rng=draw)
                texts.append(text)
            said = student.read(student.collate(student.encode(texts)))
            y = labels[list(batch)]
            ce = functional.cross_entropy(said.logits, y)
            kl = soft_cross(anchor[list(batch)], said.logits, temperature=self.temperature)
            value = self.a * ce + self.b * kl
            if self.c:
                with torch.no_grad(): zt = teacher.read(teacher.collate(teacher.encode(texts))).logits
                value = value + self.c * soft_cross(zt, said.logits, temperature=self.temperature)
            return value, {"ce": float(ce.detach()), "kl": float(kl.detach())}

        rng = np.random.default_rng(seed)
        need = self.round_steps * self.batch_size
        order = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-need // len(rows)))])[:need].tolist()
        batches = [order[i:i+self.batch_size] for i in range(0, need, self.batch_size)]
        return train(student.module, loss, epochs=[batches], plan=Plan(lr=self.lr, batch_size=self.batch_size, warmup=0.1), progress=progress, label="unlearning")
