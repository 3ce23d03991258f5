"""What errors about settings say: the words for what is allowed, examples, and what other programs call them."""

from typing import Any

NAMES_ELSEWHERE = {
    "learning_rate": "train.lr",
    "max_epochs": "train.epochs",
    "max_iters": "train.iters",
    "num_workers": "data.workers",
    "image_size": "data.crop_size",
    "backbone": "model.options",
    "decay": "train.weight_decay",
}
"""What other programs call some settings."""

ALL_KEYS = "segwright train DATA --dry-run prints all keys with their values"

ALLOWED = {
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "{expected}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list in brackets",
    "missing": "two numbers in brackets",
    "too_long": "two numbers in brackets",
    "falling_range": "the smaller number first",
    "dict_type": "options by name",
}
"""What to give instead, by pydantic's type of error."""

EXAMPLES: dict[str, Any] = {
    "data.path": "data/streets",
    "data.bands": 4,
    "data.unit": 65535.0,
    "data.mean": [0.485, 0.456, 0.406],
    "data.std": [0.229, 0.224, 0.225],
    "data.crop_size": [352, 480],
    "data.short_side": 720,
    "data.workers": 4,
    "data.allow": ["class-only-in-val"],
    "model.weights": "runs/first",
    "model.teacher": "runs/large",
    "model.options": {"variant": "paper"},
    "loss.options": {"threshold": 0.7},
    "train.iters": 2000,
    "train.epochs": 100,
    "train.minutes": 30,
    "train.batch_size": 12,
    "train.threads": 4,
    "train.clip_grad_norm": 1.0,
    "train.log_every": 50,
    "train.eval_every": 500,
    "train.save_every": 100,
}
"""Values of the settings whose default shows none."""
