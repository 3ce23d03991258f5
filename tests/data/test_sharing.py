from segwright.data.sharing import share_stems


def test_names_that_are_not_utf8_are_shared_and_others_stay_where_they_were() -> None:
    stems = {f"scene_{index}" for index in range(40)}
    (train, val), (more, more_val) = share_stems(stems), share_stems({*stems, "bad\udcff"})
    assert (more - {"bad\udcff"}, more_val - {"bad\udcff"}) == (train, val)
    assert "bad\udcff" in more | more_val
