"""Messages call the library's files the same wherever netdsl is installed."""

import pytest

import netdsl
from netdsl.resources import library_path


def test_spans_in_imported_files_name_the_library() -> None:
    names = {node.span.source.name for node in netdsl.load("googlenet").network.nodes() if node.span is not None}
    assert names == {"specs/googlenet.net", "specs/common.net"}


def test_errors_in_imported_blocks_name_the_library() -> None:
    with pytest.raises(netdsl.SpecError) as caught:
        netdsl.load("inception_v3", shape=(3, 74, 74))
    assert "specs/common.net" in str(caught.value)
    assert str(library_path()) not in str(caught.value)
