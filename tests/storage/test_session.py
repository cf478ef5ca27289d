"""A database's address that is none is named, and not repeated."""

import pytest

from ragline.errors import ConfigurationError
from storage.session import make_engine


@pytest.mark.parametrize("url", ["foo", "mysql://u:s3cret@h/d", "nodb+x://u:s3cret@h/d", "postgresql://u:s3cret@h:x/d"])
def test_a_wrong_address_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as raised:
        make_engine(url)
    assert "s3cret" not in str(raised.value)
