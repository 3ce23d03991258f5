import pytest
import torch
from torch.nn import functional as F

from segwright.losses import distillation


def test_it_is_the_mean_divergence_over_positions() -> None:
    learner, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    shown, learned = teacher.softmax(1), learner.softmax(1)
    wanted = (shown * (shown.log() - learned.log())).sum(1).mean()
    assert float(distillation(learner, teacher)) == pytest.approx(float(wanted), rel=1e-5)
    assert float(distillation(teacher, teacher)) == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_is_of_one_size_at_every_temperature_and_none_goes_to_the_teacher() -> None:
    teacher = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sizes = []
    for temperature in (10.0, 20.0):
        learner = torch.zeros(1, 3, 6, 6, requires_grad=True)
        distillation(learner, teacher, temperature=temperature).backward()
        assert learner.grad is not None
        sizes.append(float(learner.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)
    assert teacher.grad is None


def test_half_precision_is_computed_in_float32() -> None:
    learner, teacher = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        value = distillation(learner.bfloat16(), teacher)
    assert value.dtype == torch.float32
    same = F.kl_div(learner.bfloat16().float().log_softmax(1), teacher.softmax(1), reduction="none").sum(1).mean()
    assert float(value) == pytest.approx(float(same), rel=1e-4)
