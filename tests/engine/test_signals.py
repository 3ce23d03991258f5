import signal

import pytest

from segwright.engine.signals import StopRequest


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "stopping after this step; press Ctrl-C again to stop without saving"),
        (signal.SIGTERM, "stopping after this step"),
    ],
)
def test_signal_is_a_request_and_only_ctrl_c_speaks_of_ctrl_c(
    number: signal.Signals, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with StopRequest() as stop:
        signal.raise_signal(number)
        assert stop.requested
    assert caplog.messages == [said]


def test_second_ctrl_c_stops_at_once() -> None:
    with StopRequest():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
