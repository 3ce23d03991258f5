"""What processes do about each other's ends; two of them meet in test_distributed.py."""

import json
import socket
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from segwright.config import TrainSettings
from segwright.engine import processes
from segwright.engine.processes import (
    Team,
    agreed,
    as_one_run,
    gather_objects,
    is_broken_exchange,
    meet,
    must_agree,
    process_count,
    refuse_lonely_process,
)
from segwright.errors import ConfigError, DataError, ProcessError


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> tuple[Team, Team]:
    """Both processes' views, over one store and with little patience."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "_PATIENCE", 0.2)
    store = PrefixStore("segwright", dist.HashStore())
    return Team(store, 0, 2, 60.0), Team(store, 1, 2, 60.0)


CLOSED = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")
LATE = RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 60000ms for recv operation")


def told(error: BaseException) -> tuple[str, bool | None]:
    assert isinstance(error, DataError | ProcessError)
    return error.message, error.is_told


def test_own_error_is_told_by_its_process_and_named_by_the_main_one(two: tuple[Team, Team]) -> None:
    main, second = two
    assert told(second.explain(DataError("'a.png' is gone"))) == ("rank 1 of 2: 'a.png' is gone", False)
    assert told(main.explain(CLOSED)) == ("rank 1 of 2 failed: 'a.png' is gone", False)


def test_error_that_all_run_into_is_told_by_the_main_process(two: tuple[Team, Team]) -> None:
    main, second = two
    assert told(main.explain(DataError("'a.png' is gone"))) == ("'a.png' is gone", False)
    assert told(second.explain(DataError("'a.png' is gone"))) == ("'a.png' is gone", True)


def test_any_other_error_is_left_as_it_is_and_known_to_the_others(two: tuple[Team, Team]) -> None:
    main, second = two
    error = KeyError("key")
    assert second.explain(error) is error
    assert told(main.explain(CLOSED)) == ("rank 1 of 2 failed: KeyError: 'key'", False)


@pytest.mark.parametrize(("broken", "what"), [(CLOSED, "ended without a word"), (LATE, "did not answer for 60 s")])
def test_who_answers_no_more_is_named(two: tuple[Team, Team], broken: RuntimeError, what: str) -> None:
    error = two[0].explain(broken)
    assert told(error) == (f"rank 1 of 2 {what}", False)
    assert isinstance(error, ProcessError)
    assert error.exit_code == 1
    assert ("train.process_timeout" in error.fix) == (broken is LATE)


def test_errors_of_an_earlier_run_do_not_count(two: tuple[Team, Team]) -> None:
    main, second = two
    second.explain(DataError("'a.png' is gone"))
    for team in two:
        team.runs += 1
    assert told(main.explain(CLOSED))[0] == "rank 1 of 2 ended without a word"


def test_second_process_tells_it_where_the_main_one_has_gone_with_the_store(two: tuple[Team, Team]) -> None:
    class Gone:
        def check(self, keys: list[str]) -> bool:
            raise dist.DistNetworkError("connection reset")

        def set(self, key: str, value: str) -> None:
            self.check([key])

    two[1].store = Gone()  # type: ignore[assignment]
    assert told(two[1].explain(CLOSED)) == ("rank 0 of 2 is gone", False)


def test_only_exchanges_break() -> None:
    assert is_broken_exchange(dist.DistBackendError("NCCL"))
    assert not is_broken_exchange(RuntimeError("shapes differ"))
    assert not is_broken_exchange(ValueError("gloo"))


def test_alone_nothing_is_exchanged() -> None:
    assert process_count() == 1
    assert gather_objects("own") == ["own"]
    must_agree(ConfigError, {"a fact": 1}, "none")
    with pytest.raises(DataError, match=r"^gone$"), as_one_run(TrainSettings()), agreed():
        raise DataError("gone")


def test_launcher_that_starts_one_process_for_several_is_refused() -> None:
    variables = {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}
    with pytest.raises(ConfigError, match="starts one process") as caught:
        refuse_lonely_process(variables)
    assert "torchrun" in caught.value.fix
    refuse_lonely_process({**variables, "WORLD_SIZE": "1"})
    refuse_lonely_process({"ACCELERATE_USE_CPU": "True"})


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The variables of a launcher's first process of two."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_port_in_use_is_named_with_the_flag_to_change(launched: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        launched.setenv("MASTER_PORT", str(port))
        with pytest.raises(ProcessError, match=f"port 127.0.0.1:{port} is in use") as caught:
            meet(TrainSettings(device="cpu", process_timeout=5.0))
    assert "--main_process_port" in caught.value.fix


def test_missing_launcher_variable_is_named(launched: Any) -> None:
    launched.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ConfigError, match="MASTER_PORT"):
        meet(TrainSettings(device="cpu"))


def test_process_that_waits_in_vain_says_where(launched: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        launched.setenv("MASTER_PORT", str(free.getsockname()[1]))
    with pytest.raises(ProcessError, match=r"rank 0 of 2 did not meet all others at .* within 1 s"):
        meet(TrainSettings(device="cpu", process_timeout=1.0))


def test_notes_are_read_by_anyone(two: tuple[Team, Team]) -> None:
    two[1].explain(KeyError("key"))
    note = json.loads(two[0].store.get("0/failed"))
    assert note == {"rank": 1, "text": "KeyError: 'key'"}
