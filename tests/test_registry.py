import pytest

from segwright.errors import ConfigError
from segwright.registry import Registry


def pizza(size: int) -> str:
    return f"pizza of {size} cm"


def pasta() -> str:
    return "pasta"


@pytest.fixture
def dishes() -> Registry[str]:
    registry: Registry[str] = Registry("dish", hint="see the menu")
    registry.register(pizza)
    registry.register(pasta)
    return registry


def test_builders_are_found_by_their_function_s_name(dishes: Registry[str]) -> None:
    assert dishes["pizza"] is pizza
    assert dishes["pizza"](30) == "pizza of 30 cm"


def test_names_are_sorted(dishes: Registry[str]) -> None:
    assert list(dishes) == ["pasta", "pizza"]


def test_decorator_gives_the_builder_back(dishes: Registry[str]) -> None:
    def soup() -> str:
        return "soup"

    assert dishes.register(soup) is soup
    assert "soup" in list(dishes)


def test_unknown_name_gets_the_nearest_all_names_and_the_hint(dishes: Registry[str]) -> None:
    with pytest.raises(ConfigError, match=r"^unknown dish 'piza'; did you mean 'pizza'") as error:
        dishes["piza"]
    assert error.value.fix == "choose one of: pasta, pizza (see the menu)"


def test_a_name_unlike_all_others_gets_no_guess(dishes: Registry[str]) -> None:
    with pytest.raises(ConfigError) as error:
        dishes["xyz"]
    assert error.value.message == "unknown dish 'xyz'"


def test_a_name_is_registered_once(dishes: Registry[str]) -> None:
    with pytest.raises(AssertionError, match="dish 'pizza' is registered twice"):
        dishes.register(pizza)
