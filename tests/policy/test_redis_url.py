"""Which addresses of a Redis are taken, and that none is shown with its password."""

import pytest

from runtype_mcp.policy.redis_url import checked_redis_url, redis_password, shown_redis_url

FORMS = "must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH"


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("redis://localhost", "redis://localhost", ""),
        ("redis://redis.internal:6380/3", "redis://redis.internal:6380/3", ""),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0", ""),
        ("redis://:pa%40ss@host/0", "redis://:***@host/0", "pa@ss"),
        ("rediss://ada:word@host:6380/0", "rediss://ada:***@host:6380/0", "word"),
        ("rediss://ada@host", "rediss://ada@host", ""),
        ("rediss://host?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c&ssl_keyfile=/k", "rediss://host", ""),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", ""),
        ("unix://:word@/run/redis.sock?db=2", "unix://:***@/run/redis.sock", "word"),
    ],
)
def test_an_address_is_taken_and_shown_without_its_password(url: str, shown: str, password: str) -> None:
    assert checked_redis_url(url) == url
    assert shown_redis_url(url) == shown
    assert redis_password(url) == password


@pytest.mark.parametrize(
    ("url", "says"),
    [
        *(
            (url, f"{FORMS}.")
            for url in (
                "localhost:6379",
                "http://:word@host",
                "redis://:word@",
                "redis:///0",
                "redis://:word@host/name",
                "redis://:word@host/0/1",
                "redis://:word@host:0",
                "redis://:word@host:99999",
                "redis://:word@host:port",
                "redis://:word@[host",
                "redis://:word@host#x",
                "redis://:word@ho st",
                "redis://:word@host?x",
                "unix://:word@",
                "unix://:word@host/path",
                "unix://:word@/path?db=one",
            )
        ),
        *(
            (url, f"has an option that is not taken (1); after ? it takes {options}.")
            for url, options in (
                ("rediss://:word@host?ssl_cert_reqs=none", "ssl_ca_certs, ssl_certfile, ssl_keyfile"),
                ("rediss://:word@host?ssl_check_hostname=false", "ssl_ca_certs, ssl_certfile, ssl_keyfile"),
                ("redis://:word@host?password=word", "nothing"),
                ("redis://:word@host?db=1", "nothing"),
                ("unix:///path?password=word", "db"),
            )
        ),
    ],
)
def test_what_is_no_address_or_would_turn_a_check_off_is_refused_without_being_repeated(url: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        checked_redis_url(url)
    assert str(caught.value) == says
