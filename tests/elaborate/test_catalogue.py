"""The rows that `netdsl list` shows are those of the library as it is."""

from __future__ import annotations

from netdsl.elaborate import catalogue


def test_stored_rows_belong_to_the_library() -> None:
    stored = catalogue.stored()
    assert stored is not None, "run `python -m netdsl.elaborate.catalogue`"
    # Counted anew for a sample; the counts themselves are tested with the library.
    from netdsl.elaborate.modules import Loader

    for row in stored[::20]:
        assert catalogue._row(row["name"], row["file"], Loader()) == row


def test_every_network_of_the_library_is_listed_once() -> None:
    names = [row["name"] for row in catalogue.rows()]
    assert len(names) == len(set(names))
    assert {"lenet5", "resnet50", "efficientnet_b7", "edges"} <= set(names)
    assert "resnet" not in names


def test_patterns() -> None:
    assert {row["name"] for row in catalogue.rows("mobilenet_v3_*")} == {"mobilenet_v3_large", "mobilenet_v3_small"}
    assert all("course" in row["file"] for row in catalogue.rows("course/*"))
    assert catalogue.rows("no such network") == []
