"""What `policyd decide` is typed with: what cannot be followed is said before anything starts."""

from __future__ import annotations

import pytest

from policyd.base.errors import UsageError
from policyd.decider.choice import check_source, chosen


@pytest.mark.parametrize("listen", ["foo", "127.0.0.1", "[::1]:99999", "127.0.0.1:x"])
def test_an_address_that_is_none_is_said(listen: str) -> None:
    with pytest.raises(UsageError, match="cannot listen on"):
        chosen(None, listen=listen)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/x", "http://[", "http://a b", "http://x\ny", "http://:1", "http://"]
)
def test_a_url_that_is_none_is_said(url: str) -> None:
    with pytest.raises(UsageError, match="is not a URL"):
        check_source(url)


@pytest.mark.parametrize("source", ["mesh.tar.gz", "http://127.0.0.1:8181/bundles/mesh.tar.gz", "https://[::1]/b"])
def test_what_may_be_followed_is_taken(source: str) -> None:
    check_source(source)
