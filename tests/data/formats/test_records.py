"""Records of data files: every format and encoding, damage dropped with its place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jojo.data.contract import Tally
from jojo.data.formats import records
from jojo.data.formats.records import EmptyFile, kind_of, read_records

PAIRS = [{"user": f"question {i}", "bot": f"answer {i}: naïve “quotes” 🙂"} for i in range(5)]


@pytest.fixture
def read(tmp_path):
    """Writes a file of this content; returns what is read from it and the tally."""

    def call(content: bytes | str, name: str = "x", limit: int | None = None):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        tally = Tally(limit=limit)
        return list(tally.records(read_records(path, tally))), tally

    return call


def lines(values, **how) -> str:
    return "".join(json.dumps(v, **how) + "\n" for v in values)


def table(delimiter: str, rows, **how) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, **how).writerows(rows)
    return out.getvalue()


ROWS = [["user", "bot"], *([p["user"], p["bot"]] for p in PAIRS)]
FORMS = {
    "lines": ("jsonl", lines(PAIRS)),
    "lines without the last line break": ("jsonl", lines(PAIRS)[:-1]),
    "lines ending as on Windows, blank ones between": (
        "jsonl",
        lines(PAIRS).replace("\n", "\r\n\r\n"),
    ),
    "array on one line": ("json", json.dumps(PAIRS)),
    "array, a record a line": ("json", "[\n" + ",\n".join(map(json.dumps, PAIRS)) + "\n]\n"),
    "array laid out": ("json", "\n\n" + json.dumps(PAIRS, indent=2, ensure_ascii=False)),
    "objects laid out, one after another": (
        "json",
        "\n".join(json.dumps(p, indent=1) for p in PAIRS),
    ),
    "object around the records": ("json", json.dumps({"version": 1, "data": PAIRS})),
    "CSV": ("csv", table(",", ROWS)),
    "TSV": ("csv", table("\t", ROWS)),
    "CSV of a spreadsheet in Europe": ("csv", "sep=;\r\n\r\n" + table(";", ROWS)),
    "CSV with every cell quoted": ("csv", table(",", ROWS, quoting=csv.QUOTE_ALL)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_form_gives_the_same_records(read, tmp_path, form, zipped):
    kind, content = FORMS[form]
    data = content.encode()
    found, tally = read(gzip.compress(data) if zipped else data)
    assert [value for _, value in found] == PAIRS
    assert kind_of(tmp_path / "x") == kind
    assert (tally.records_in, tally.dropped, tally.changed) == (5, {}, {})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("form", ["lines", "array", "CSV"])
def test_encodings_are_told_apart(read, encoding, form):
    values = [{"user": "Grüße", "bot": "naïve “quotes” – 5 €"}] * 3
    content = {
        "lines": lines(values, ensure_ascii=False),
        "array": json.dumps(values, ensure_ascii=False),
        "CSV": table(",", [["user", "bot"], *(v.values() for v in values)]),
    }[form]
    found, tally = read(content.encode(encoding))
    assert [value for _, value in found] == values
    assert tally.changed == ({"decoded as CP1252": 1} if encoding == "cp1252" else {})


def test_utf16_of_the_other_byte_order(read):
    found, _ = read(b"\xfe\xff" + lines(PAIRS, ensure_ascii=False).encode("utf-16-be"))
    assert [value for _, value in found] == PAIRS


def test_two_encodings_in_one_file_are_both_right(read):
    first, second = [lines([{"a": "Grüße €"}], ensure_ascii=False)] * 2
    found, tally = read(first.encode() + second.encode("cp1252"))
    assert [value for _, value in found] == [{"a": "Grüße €"}] * 2
    assert tally.changed == {"decoded as CP1252": 1}


def test_places_are_named(read):
    assert [w for w, _ in read('{"a": 1}\n\n{"a": 2}\n', "x.jsonl")[0]] == [
        "x.jsonl, line 1",
        "x.jsonl, line 3",
    ]
    assert [w for w, _ in read('[{"a": 1},\n{"a": 2}]', "x.json")[0]] == [
        "x.json, record 1",
        "x.json, record 2",
    ]
    assert [w for w, _ in read('a,b\n1,"x\ny"\n3,4\n', "x.csv")[0]] == [
        "x.csv, line 2",
        "x.csv, line 4",
    ]


def test_parquet(read, tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    values = [{"messages": [{"role": "user", "content": f"é {i}"}], "n": None} for i in range(3)]
    parquet.write_table(pyarrow.Table.from_pylist(values), tmp_path / "made")
    data = (tmp_path / "made").read_bytes()
    found, _ = read(data, "x.txt")
    assert found[2] == ("x.txt, row 3", values[2])
    assert len(found) == 3


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_damaged_line_is_dropped_and_the_rest_is_read(read, where):
    whole = lines(PAIRS).splitlines(keepends=True)
    at = {"first": 0, "middle": 2, "last": 4}[where]
    torn = whole[at][:-20] + ("\n" if at < 4 else "")
    found, tally = read("".join([*whole[:at], torn, *whole[at + 1 :]]), "x.jsonl")
    assert [value for _, value in found] == [p for i, p in enumerate(PAIRS) if i != at]
    assert tally.dropped == {"malformed JSON": 1}
    assert tally.first == {"malformed JSON": f"x.jsonl, line {at + 1}"}
    assert tally.records_in == 5


@pytest.mark.parametrize("indent", [None, 2])
def test_a_damaged_record_of_an_array_is_dropped_and_the_rest_is_read(read, indent):
    text = json.dumps(PAIRS, indent=indent).replace('"bot": "answer 2', '"bot" "answer 2')
    found, tally = read(text, "x.json")
    assert [value for _, value in found] == [p for i, p in enumerate(PAIRS) if i != 2]
    assert tally.dropped == {"malformed JSON": 1}
    assert tally.first == {"malformed JSON": "x.json, record 3"}


def test_an_array_that_was_cut_off(read):
    found, tally = read(json.dumps(PAIRS)[:-30], "x.json")
    assert [value for _, value in found] == PAIRS[:4]
    assert tally.dropped == {"malformed JSON": 1}
    assert tally.skipped == {"end of the array missing": 1}


def test_records_that_json_can_hold_and_text_cannot(read):
    found, tally = read('{"a": "\\ud83d"}\n{"a": "\\ud83d\\ude42"}\n{"\\udc00": 1}\n', "x.jsonl")
    assert found == [("x.jsonl, line 2", {"a": "🙂"})]
    assert tally.dropped == {"no valid Unicode": 2}
    assert tally.first == {"no valid Unicode": "x.jsonl, line 1"}
    found, tally = read('[{"a": "\\ud83d"}, {"a": "b"}]')
    assert [value for _, value in found] == [{"a": "b"}]
    assert tally.dropped == {"no valid Unicode": 1}


@pytest.mark.parametrize("form", ["lines", "array"])
def test_odd_values_pass_and_a_nesting_bomb_does_not(read, form):
    bomb = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    texts = [
        '{"a": "x"}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        bomb,
        '{"a": "tab\there"}',
        '{"a": "y"}',
    ]
    found, tally = read("\n".join(texts) if form == "lines" else f"[{','.join(texts)}]")
    assert str([value["a"] for _, value in found]) == r"['x', nan, -inf, 'tab\there', 'y']"
    assert tally.dropped == {"nested too deeply": 1}


def test_wrong_types_are_for_the_caller_to_judge(read):
    assert [v for _, v in read('[1, "two", null, [3], {"a": 1}]')[0]] == [
        1,
        "two",
        None,
        [3],
        {"a": 1},
    ]
    assert [v for _, v in read('{"a": 1}\n42\n"two"\n')[0]] == [{"a": 1}, 42, "two"]


def test_records_longer_than_a_block_are_whole(read):
    values = [{"a": letter * (3 * records.BLOCK // 2)} for letter in "xyé"]
    for content in (json.dumps(values), lines(values), "\n".join(map(json.dumps, values)) + "\n\n"):
        assert [value for _, value in read(content)[0]] == values


def test_a_record_over_the_limit_is_dropped_alone(read, monkeypatch):
    monkeypatch.setattr(records, "RECORD_MIB", 1)
    monkeypatch.setattr(records, "DOCUMENT_MIB", 1)
    values = [{"a": 1}, {"a": "x" * (3 << 20)}, {"a": 2}]
    for content in (lines(values), json.dumps(values)):
        found, tally = read(content)
        assert [value["a"] for _, value in found] == [1, 2]
        assert tally.dropped == {"a record over 1 MiB": 1}


def test_one_huge_value_is_one_clear_error(read, complaint, monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORD_MIB", 1)
    monkeypatch.setattr(records, "DOCUMENT_MIB", 2)
    for content in ('{"a": "' + "x" * (4 << 20) + '"}', '["' + "x" * (4 << 20) + '"]'):
        assert complaint(read, content) == (
            f"{tmp_path / 'x'} holds a single JSON value of over 1 MiB: make it a JSON array of "
            "records, or one record a line"
        )


def test_a_big_array_streams_in_bounded_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "x.json"
    record = json.dumps({"user": "x" * 500, "bot": "é" * 500})
    path.write_text("[" + ", ".join([record] * 20_000) + "]", encoding="utf-8")  # 20 MiB on a line
    tally = Tally()
    tracemalloc.start()
    assert sum(1 for _ in tally.records(read_records(path, tally))) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20


def test_limit_counts_damaged_records_too(read):
    found, tally = read('{"a": 1}\nnope\n{"a": 2}\n{"a": 3}\n', limit=3)
    assert [value["a"] for _, value in found] == [1, 2]
    assert tally.records_in == 3


def test_stray_quotes_in_a_table_cost_no_other_row(read):
    content = 'user\tbot\nhi\t"quoted\tcell"\n"never closed\tfine\nbye\tsee "you"\nlast\tone\n'
    found, tally = read(content, "x.tsv")
    assert [value for _, value in found] == [
        {"user": "hi", "bot": "quoted\tcell"},
        {"user": '"never closed', "bot": "fine"},
        {"user": "bye", "bot": 'see "you"'},
        {"user": "last", "bot": "one"},
    ]
    assert tally.dropped == {}


def test_rows_that_do_not_fit_the_header(read):
    found, tally = read('a,b\n1,2\n3,4,5\n6,7,,\n\n8\n"9\n', "x.csv")
    assert [v for _, v in found] == [{"a": "1", "b": "2"}, {"a": "6", "b": "7"}, {"a": "8"}]
    assert tally.dropped == {"more cells than the header": 1, "malformed row": 1}
    assert tally.first["more cells than the header"] == "x.csv, line 3"
    assert tally.first["malformed row"] == "x.csv, line 7"


def test_pandas_leaves_the_name_of_its_index_empty(read):
    assert read(",user,bot\n0,hi,hello\n")[0][0][1] == {"": "0", "user": "hi", "bot": "hello"}


@pytest.mark.parametrize(
    "content", ["", "\n \n", b"\xef\xbb\xbf", b"\xff\xfe", gzip.compress(b"", mtime=0)]
)
def test_an_empty_file_says_so(read, content, tmp_path):
    with pytest.raises(EmptyFile, match="is empty"):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        "Hello there.\nHow are you?\n",
        "Well, I never!\nYes, really, it is so.\n",
        "12/03/2020, 10:15 - Ann: hi, you\n12/03/2020, 10:16 - Bob: hi, Ann\n",
        "[12/03/2020, 10:15:00] Ann: hi\n[12/03/2020, 10:16:00] Bob: hi\n",
        "[10:15] Ann: hi\n",
        "{name}: hi\n",
        "<|im_start|>user\nhi\n<|im_end|>\n<|im_start|>assistant\nhi\n<|im_end|>\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0",
        b"PK\x03\x04\0\0",
    ],
)
def test_what_holds_no_records_is_named(read, complaint, content, tmp_path):
    assert complaint(read, content) == (
        f"{tmp_path / 'x'} holds no records: give JSON, JSON lines, CSV, TSV or parquet, "
        "plain or .gz"
    )
    assert kind_of(tmp_path / "x") is None


def test_damaged_gzip_and_parquet_are_named(read, complaint, tmp_path):
    import random

    noise = "".join(random.Random(0).choices(string.ascii_letters, k=100_000))
    whole = gzip.compress(lines([{"a": noise}] * 3).encode())
    assert "is damaged (Compressed file ended" in complaint(read, whole[: len(whole) // 2])
    assert "is damaged" in complaint(read, whole[:3])
    assert "is damaged after row 0" in complaint(read, b"PAR1 is how parquet begins")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), JSON, min_size=1, max_size=3), min_size=2), st.data())
def test_any_records_come_back_from_any_layout(tmp_path_factory, values, data):
    how = {"ensure_ascii": data.draw(st.booleans())}
    path = tmp_path_factory.getbasetemp() / "any"
    indent = data.draw(st.none() | st.integers(0, 2))
    for content in (json.dumps(values, indent=indent, **how), lines(values, **how)):
        path.write_text(content, encoding="utf-8", newline="")
        tally = Tally()
        assert [v for _, v in tally.records(read_records(path, tally))] == values


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(str.strip)


@given(st.lists(st.tuples(CELL, CELL), min_size=1), st.sampled_from(",;\t|"))
def test_any_table_comes_back(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.getbasetemp() / "any"
    content = table(delimiter, [("user", "bot"), *rows], quoting=csv.QUOTE_ALL)
    path.write_text(content, encoding="utf-8", newline="")
    tally = Tally()
    assert [tuple(v.values()) for _, v in tally.records(read_records(path, tally))] == rows
    assert not tally.dropped


@given(st.binary(max_size=200), st.sampled_from([b"", b"{", b'[{"a":', b'{"a": 1}\n', b"a,b\n"]))
def test_any_bytes_give_records_or_one_clear_error(tmp_path_factory, noise, start):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + noise)
    tally = Tally()
    try:
        found, message = list(tally.records(read_records(path, tally))), None
    except ValueError as error:
        message = str(error)
    if message is None:
        assert tally.records_in == len(found) + sum(tally.dropped.values())
    else:
        assert str(path) in message
        assert "\n" not in message
