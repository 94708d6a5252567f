"""Questions from a file, and what counts as a right answer."""

import json

import pytest

from cotam_cli.bench.questions import Question, chosen_letter, is_right, plain, read_questions
from cotam_cli.errors import CotamError


def question(match, *answers, choices=()):
    return Question("a.png", "what?", answers, match, choices)


def written(tmp_path, *entries):
    path = tmp_path / "qa.jsonl"
    path.write_text("\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries))
    return path


def test_a_file(tmp_path):
    one, two, three = read_questions(
        written(
            tmp_path,
            {"image": "a.png", "question": "Total?", "answer": ["8.70", "$8.70"]},
            "",
            {"image": "a.png", "question": "Which?", "choices": ["cat", "dog"], "answer": "dog"},
            {"image": "b.png", "question": "What is it?", "match": "exact"},
        )
    )
    assert (one.match, one.answers) == ("contains", ("8.70", "$8.70"))
    assert (two.match, two.answers) == ("choice", ("B",))
    assert "A. cat\nB. dog" in two.prompt
    assert three.answers == ()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("{", "line 1"),
        ("[]", "needs"),
        ({"image": "a"}, "needs"),
        ({"image": "a", "question": "q", "match": "fuzzy"}, "match must be"),
        ({"image": "a", "question": "q", "choices": ["one"]}, "2 to 26"),
        ({"image": "a", "question": "q", "choices": 5}, "line 1: choices must be a list"),
        ({"image": "a", "question": "q", "choices": "yes"}, "choices must be a list"),
        ({"image": "a", "question": "q", "choices": ["x", "y"], "answer": "z"}, "none of the choices"),
    ],
)
def test_mistakes_are_named(tmp_path, entry, reason):
    with pytest.raises(CotamError, match=reason):
        read_questions(written(tmp_path, entry))


def test_an_empty_file(tmp_path):
    with pytest.raises(CotamError, match="holds no question"):
        read_questions(written(tmp_path, ""))


@pytest.mark.parametrize(
    ("match", "answer", "reply", "right"),
    [
        ("exact", "Paris", " paris. ", True),
        ("exact", "Paris", "It is Paris", False),
        ("contains", "8.70", "The total is $8.70.", True),
        ("contains", "8.70", "The total is 18.70", False),
        ("contains", "cat", "concatenate", False),
        ("contains", "New York", "in NEW-YORK", True),
        ("contains", "42", "", False),
    ],
)
def test_words(match, answer, reply, right):
    assert is_right(question(match, answer), reply, "") is right


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("b.", "B"),
        ("**C**", "C"),
        ("C) a dog", "C"),
        ("The answer is B.", "B"),
        ("Answer: (A)", "A"),
        ("A cat is in it, so the correct choice is B", "B"),
        ("I see a dog", "C"),
        ("a cat or a dog", None),
        ("E", None),
        ("", None),
    ],
)
def test_letters(reply, letter):
    assert chosen_letter(reply, ("red bird", "cat", "dog")) == letter


def test_without_an_answer_the_original_is_right():
    assert is_right(question("contains"), "A red car.", "a red car")
    assert not is_right(question("contains"), "A blue car", "a red car")
    pick = question("choice", choices=("x", "y"))
    assert is_right(pick, "B.", "The answer is B")
    assert not is_right(pick, "A", "B")


def test_plain():
    assert plain("  $1,234.50,  please: Ünder_score! ") == "1,234.50 please ünder_score"
