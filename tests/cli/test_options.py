import pytest

from segwright.cli.options import arrange


@pytest.mark.parametrize(
    ("given", "arranged"),
    [
        ("evaluate m d --scales 0.75 1 1.25", "evaluate m d --scales 0.75 --scales 1 --scales 1.25"),
        ("evaluate --scales 0.5 1 m d", "evaluate --scales 0.5 --scales 1 m d"),
        ("evaluate --scales 0.5 1 --flip m 7", "evaluate --scales 0.5 --scales 1 --flip m 7"),
        ("evaluate m d --scales 1 --scales 2 3", "evaluate m d --scales 1 --scales 2 --scales 3"),
        ("evaluate m d --scales wide", "evaluate m d --scales wide"),
        ("data limits d --strides 4 8 --codes 32", "data limits d --strides 4 --strides 8 --codes 32"),
        ("data limits d --strides -4 3.5", "data limits d --strides -4 --strides 3.5"),
        ("train d --crop-size 64 96", "train d --crop-size 64 96"),
        ("train d --debug --offline", "--debug --offline train d"),
        ("predict m -- --debug --scales 1 2", "predict m -- --debug --scales 1 2"),
        ("bench a b --runtime torch onnx", "bench a b --runtime torch --runtime onnx"),
        ("bench --runtime torch onnx a --precision fp32", "bench --runtime torch --runtime onnx a --precision fp32"),
        ("evaluate m d --runtime torch onnx", "evaluate m d --runtime torch onnx"),
        ("", ""),
    ],
)
def test_numbers_after_an_option_of_several_values_belong_to_it(given: str, arranged: str) -> None:
    assert arrange(given.split()) == arranged.split()
