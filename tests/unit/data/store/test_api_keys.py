from datetime import UTC, datetime

import pytest

from plumbline.data.store.api_keys import ApiKeys
from plumbline.data.store.database import Database
from plumbline.errors import DataError

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def database(feedback_url):
    database = Database(feedback_url)
    yield database
    database.close()


@pytest.fixture
def keys(database):
    return ApiKeys(database)


def test_a_key_is_verified_by_its_text_and_by_nothing_else(keys):
    key, text = keys.create("rater-01", ("collect", "read"), NOW)
    other, other_text = keys.create("rater-02", ("submit",), NOW)
    assert keys.verify(text) == key == keys.find(key.id)
    assert keys.verify(text) == key  # the second time from memory
    assert (key.name, key.scopes, key.revoked_at) == ("rater-01", ("collect", "read"), None)
    prefix, identifier, secret = text.split("_", 2)
    wrong = [
        text[:-1],
        text + "a",
        text.upper(),
        "",
        identifier,
        secret,
        f"{prefix}_{other.id}_{secret}",
        f"{prefix}_{'0' * 16}_{secret}",
        text + "\n",
    ]
    assert [keys.verify(one) for one in wrong] == [None] * len(wrong)
    assert keys.verify(other_text) == other


def test_the_secret_is_stored_nowhere(keys, database):
    """The row holds a 16-byte salt and a 32-byte hash; neither the secret nor its text occurs in
    any column."""
    from sqlalchemy import select

    _, text = keys.create("rater-01", ("collect",), NOW)
    _, same = keys.create("rater-01", ("collect",), NOW)
    with database.reading() as connection:
        rows = connection.execute(select(database.tables.api_keys)).all()
    secret = text.split("_", 2)[2]
    assert [(len(row.salt), len(row.hash)) for row in rows] == [(16, 32), (16, 32)]
    assert rows[0].salt != rows[1].salt
    assert text != same
    stored = [
        value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
    ]
    assert len(stored) == 14
    assert not any(secret.encode() in value or text.encode() in value for value in stored)


def test_a_revoked_key_ends_at_once_also_where_it_was_used_before(keys, database):
    key, text = keys.create("rater-01", ("collect",), NOW)
    assert keys.verify(text) == key
    revoked = ApiKeys(database).revoke(key.id, NOW)  # another process
    assert revoked.revoked_at == NOW
    assert keys.verify(text) is None
    assert keys.revoke(key.id, datetime(2027, 1, 1, tzinfo=UTC)).revoked_at == NOW
    assert keys.all() == (revoked,)


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("rater-01", (), "a key needs one or more of submit, collect, adjudicate, read"),
        ("rater-01", ("admin",), "scopes admin"),
        ("Jane Doe", ("collect",), "must be a pseudonym"),
        ("", ("read",), "1 to 128 printable"),
        ("a\nb", ("read",), "1 to 128 printable"),
        ("x" * 129, ("read",), "1 to 128 printable"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(keys, name, scopes, message):
    with pytest.raises(DataError, match=message):
        keys.create(name, scopes, NOW)
    assert keys.all() == ()


def test_a_name_with_blanks_may_sign_adjudications(keys):
    assert keys.create("Jane Doe", ("adjudicate",), NOW)[0].name == "Jane Doe"


def test_an_unknown_key_cannot_be_revoked(keys):
    with pytest.raises(DataError, match="there is no key 'nobody'"):
        keys.revoke("nobody", NOW)
