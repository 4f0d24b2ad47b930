"""The decision alone: every answer a server can give to every state of the disk."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp_data.acquire.decide import Answer, Partial, decide, parse_answer, request_headers

PART = Partial(have=100, etag='"a"', last_modified="Mon, 02 Nov 2026 10:00:00 GMT", total=300)
RANGE = {"Range": "bytes=100-"}


def rest(**changes):
    return Answer(**{"status": 206, "etag": '"a"', "first": 100, "last": 299, "total": 300, **changes})


@pytest.mark.parametrize(
    ("partial", "digest_known", "headers"),
    [
        (Partial(), True, {}),
        (PART, False, {**RANGE, "If-Range": '"a"'}),
        (Partial(100, 'W/"a"', "Mon", 300), False, {**RANGE, "If-Range": "Mon"}),  # a weak ETag cannot
        (Partial(100, 'W/"a"', None, 300), False, {}),
        (Partial(100), True, RANGE),
        (Partial(100), False, {}),  # nothing would tell another version's end
    ],
)
def test_question(partial, digest_known, headers):
    assert request_headers(partial, digest_known=digest_known) == headers


@pytest.mark.parametrize(
    ("partial", "asked", "answer", "size", "action"),
    [
        (Partial(), {}, Answer(200, total=300), None, "start"),
        (Partial(), {}, Answer(200, total=300), 300, "start"),
        (Partial(), {}, Answer(200, total=299), 300, "refuse"),
        (Partial(), {}, Answer(200), 300, "start"),
        (Partial(), {}, Answer(200, web_page=True), None, "refuse"),
        (Partial(), {}, rest(first=0), None, "discard"),  # a part that nobody asked for
        (PART, RANGE, Answer(200, total=300), 300, "start"),
        (PART, RANGE, rest(), 300, "append"),
        (PART, RANGE, rest(etag=None, total=None), None, "append"),
        (PART, RANGE, rest(first=None), None, "discard"),
        (PART, RANGE, rest(first=99), None, "discard"),
        (PART, RANGE, rest(last=200), None, "discard"),
        (PART, RANGE, rest(last=300), None, "discard"),  # past the end that it states
        (PART, RANGE, rest(last=None, total=None), None, "discard"),
        (PART, RANGE, rest(etag='"b"'), None, "discard"),
        (PART, RANGE, rest(last_modified="Tue, 03 Nov 2026 10:00:00 GMT"), None, "discard"),
        (PART, RANGE, rest(last=300, total=301), None, "discard"),
        (PART, RANGE, rest(last=300, total=301), 300, "refuse"),
        (PART, RANGE, rest(web_page=True), 300, "refuse"),
        (Partial(300, total=300), RANGE, Answer(416, total=300), 300, "whole"),
        (Partial(300, total=300), RANGE, Answer(416), None, "whole"),
        (Partial(300), RANGE, Answer(416), None, "discard"),
        (Partial(300), RANGE, Answer(416, total=300), None, "whole"),
        (Partial(300, total=301), RANGE, Answer(416, total=300), None, "discard"),  # it was longer before
        (Partial(301, total=300), RANGE, Answer(416, total=300), None, "discard"),
        (Partial(300, total=300), RANGE, Answer(416, total=300), 400, "discard"),
        (Partial(), {}, Answer(416), None, "refuse"),
        *[(PART, RANGE, Answer(code), None, "retry") for code in (408, 425, 429, 500, 502, 503, 504, 520, 599)],
        *[
            (PART, RANGE, Answer(code), None, "refuse")
            for code in (400, 401, 403, 404, 410, 418, 451, 501, 511, 600)
        ],
    ],
)
def test_decide(partial, asked, answer, size, action):
    assert decide(partial, asked, answer, size).action == action


@given(
    st.builds(Partial, st.integers(0, 400), st.sampled_from([None, '"a"', '"b"', 'W/"a"'])),
    st.builds(
        Answer,
        st.sampled_from([200, 206, 416]),
        st.sampled_from([None, '"a"', '"b"']),
        first=st.none() | st.integers(0, 400),
        last=st.none() | st.integers(0, 400),
        total=st.none() | st.integers(0, 400),
    ),
    st.booleans(),
    st.none() | st.integers(0, 400),
)
def test_never_joins_what_does_not_fit(partial, answer, digest_known, size):
    """An independent statement of when bytes may be appended."""
    asked = request_headers(partial, digest_known=digest_known)
    if decide(partial, asked, answer, size).action == "append":
        assert answer.status == 206
        assert answer.first == partial.have > 0
        assert partial.validator is not None or digest_known
        assert partial.etag is None or answer.etag in (None, partial.etag)
        assert size is None or answer.total in (None, size)


def test_answer_of_reads_heads():
    now = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
    answer = parse_answer(206, {"Content-Range": "bytes 5-9/10", "ETag": '"x"', "Content-Type": "text/HTML"}, now)
    assert (answer.first, answer.last, answer.total, answer.etag, answer.web_page) == (5, 9, 10, '"x"', True)
    assert parse_answer(416, {"Content-Range": "bytes */10"}, now).total == 10
    assert parse_answer(206, {"Content-Range": "bytes 5-9/*"}, now).total is None
    assert parse_answer(206, {"Content-Range": "lines 5-9/10"}, now).first is None
    assert parse_answer(200, {"Content-Length": "12"}, now).total == 12
    assert parse_answer(200, {"Content-Length": "12", "Content-Encoding": "gzip"}, now).total is None
    assert parse_answer(503, {"Retry-After": "7"}, now).retry_after == 7
    assert parse_answer(503, {"Retry-After": "Mon, 02 Nov 2026 10:01:00 GMT"}, now).retry_after == 60
    assert parse_answer(503, {"Retry-After": "Mon, 02 Nov 2026 09:00:00 GMT"}, now).retry_after == 0
    assert parse_answer(503, {"Retry-After": "soon"}, now).retry_after is None
    dates = {"Retry-After": "Mon, 02 Nov 2026 10:01:00 GMT", "Date": "Mon, 02 Nov 2026 10:00:30 GMT"}
    assert parse_answer(503, dates, now.replace(year=1970)).retry_after == 30  # a machine without a clock


@pytest.mark.parametrize(
    "date",
    ["Mon, 02 Nov 2026 10:01:00 GMT", "Monday, 02-Nov-26 10:01:00 GMT", "Mon Nov  2 10:01:00 2026"],
)
def test_all_three_forms_of_a_date_are_read(date):
    """Those that RFC 9110 (5.6.7) asks to accept; the last one names no zone, and means GMT."""
    now = datetime(2026, 11, 2, 11, 0, tzinfo=timezone(timedelta(hours=1)))
    assert parse_answer(503, {"Retry-After": date}, now).retry_after == 60
    assert parse_answer(503, {"Retry-After": "Mon, 02 Nov 2026 12:01:00 +0200"}, now).retry_after == 60
    assert parse_answer(503, {"Retry-After": "60 "}, now).retry_after == 60


@pytest.mark.parametrize("number", ["²", "1²", "9" * 5000, "-1", "0x1", "1e3", "nan", ""])
def test_numbers_that_are_none_count_as_absent(number):
    """Python takes ² for a digit and then cannot read it; nor does it read 5000 digits."""
    assert parse_answer(200, {"Content-Length": number}).total is None
    assert parse_answer(206, {"Content-Range": f"bytes 0-{number}/10"}).last is None
    assert parse_answer(416, {"Content-Range": f"bytes */{number}"}).total is None
    wait = float("inf") if number.isdecimal() else None
    assert parse_answer(503, {"Retry-After": number}).retry_after == wait
