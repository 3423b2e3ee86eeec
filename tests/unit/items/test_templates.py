"""Templates reach the fields of a row and pure functions, guess nothing, and end."""

import ast
import json

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.errors import ElusiveError
from elusive.items.own import read_spec
from elusive.items.templates import expression, fields_of, guarded, letter, parse, template

ROW = {
    "q": "why",
    "options": ["six", "eight"],
    "answer": "B",
    "nested": {"values": [1], "text": "t"},
    "nothing": None,
    "nan": float("nan"),
    "mixed": ["a", None],
    "number": 12345678,
}


def text(source):
    return template(source)(guarded(ROW))


# The ways out that are known: https://jinja.palletsprojects.com/en/stable/sandbox/ and published reports.
ESCAPES = [
    "{{ cycler.__init__.__globals__.os.popen('echo ran').read() }}",
    "{{ joiner.__init__.__globals__.os.popen('echo ran').read() }}",
    "{{ namespace.__init__.__globals__.os.popen('echo ran').read() }}",
    "{{ lipsum.__globals__['os'].popen('echo ran').read() }}",
    "{{ lipsum['__glo' ~ 'bals__'] }}",
    "{{ range.__globals__ }}",
    "{{ range.__wrapped__ }}",
    "{{ dict.__base__.__subclasses__() }}",
    "{{ dict.mro() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.cycler }}",
    "{{ self.__dict__ }}",
    "{{ q.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ()|attr('__class__')|attr('__base__') }}",
    "{{ q|attr('__cl' ~ 'ass__') }}",
    "{{ q|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ [q]|map(attribute='__class__')|list|first }}",
    "{{ options|groupby('__class__')|first }}",
    "{{ [q]|sum(attribute='__class__') }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(q) }}",
    "{{ '{x.__class__}'.format_map({'x': q}) }}",
    "{{ ('{0.__cla' ~ 'ss__}').format(q) }}",
    "{{ '{0[__class__]}'.format(q) }}",
    "{{ ('{0.__class__}'|attr('format'))(q) }}",
    "{{ (['{0.__class__}'.format]|first)(q) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(q) }}",
    "{{ '%(x)s' % {'x': q.__class__} }}",
    "{{ q.upper.__self__ }}",
    "{{ q.upper.__func__ }}",
    "{{ loop.__class__ }}",
    "{% for x in options %}{{ loop.__init__ }}{% endfor %}",
    "{% for x in options %}{{ loop._iterator.gi_frame }}{% endfor %}",
    "{{ (q for q in options).gi_frame }}",
    "{{ caller.__globals__ }}",
    "{{ config }}{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ undefined_thing.__class__ }}",
    "{{ (undefined_thing|default).__init__.__globals__ }}",
    "{{ options.append('x') }}{{ options }}",
    "{{ options.__setitem__(0, 'x') }}",
    "{{ nested.update({'a': 1}) }}",
    "{{ nested.pop('text') }}",
    "{{ nested.__class__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% extends '/etc/passwd' %}",
    "{% do options.append('x') %}",
    "{% debug %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{{ q.encode().decode.__self__.__class__ }}",
    "{{ (1).__class__ }}",
    "{{ true.__class__ }}",
    "{{ (1.5).__reduce_ex__(2) }}",
    "{{ nothing.__class__ }}",
    "{{ nothing._what }}",
    "{{ environment }}",
    "{{ context }}",
    "{{ eval_ctx }}",
    "{{ resolve('cycler') }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_way_out_of_the_sandbox(source):
    before = json.dumps(ROW)
    with pytest.raises((jinja2.TemplateError, TypeError, ValueError, KeyError, LookupError)):
        text(source)
    assert json.dumps(ROW) == before


@pytest.mark.parametrize("source", [source for source in ESCAPES if source.count("{{") == 1 and "{%" not in source])
@pytest.mark.parametrize("gold", [False, True])
def test_no_way_out_by_an_expression(source, gold):
    with pytest.raises((jinja2.TemplateError, TypeError, ValueError, KeyError, LookupError)):
        str(expression(source, gold)(guarded(ROW)))


def test_a_template_runs_no_program(tmp_path, monkeypatch):
    """The error is of the row, and nothing has run, neither then nor when the configuration was read."""
    (tmp_path / "rows.jsonl").write_text('{"q": "x"}\n')
    ran = tmp_path / "ran"
    spec = {
        "name": "mine",
        "file": str(tmp_path / "rows.jsonl"),
        "context": f"{{{{ q }}}}{{{{ cycler.__init__.__globals__.os.popen('touch {ran}').read() }}}}",
        "choices": "['a', 'b']",
        "gold": "0",
    }
    own = read_spec(spec)
    with pytest.raises(ElusiveError, match=r"line 1: context: access to attribute '__init__' of .* is unsafe"):
        own.items([{"q": "x"}], ["line 1"], [()])
    assert not ran.exists()


RUNAWAYS = [
    "{{ range(10**9)|list }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(999) %}{% for j in range(999) %}{% for k in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for i in options recursive %}{{ loop(options) }}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ q * 10**9 }}",
    "{{ 10**9 * q }}",
    "{{ options * 10**9 }}",
    "{{ [0] * 10**9 }}",
    "{{ 9**(9**9) }}",
    "{{ 2**(10**10) }}",
    "{{ q.center(10**9) }}",
    "{{ q.ljust(10**9) }}",
    "{{ q.zfill(10**9) }}",
    "{{ '\t'.expandtabs(10**9) }}",
    "{{ q|center(10**9) }}",
    "{{ q|center(width=10**9) }}",
    "{{ q|indent(10**9) }}",
    "{{ options|batch(10**9, 'x')|list|length }}",
    "{{ options|slice(10**9)|list|length }}",
    "{{ options|tojson(10**9) }}",
    "{{ '%1000000000d' % 3 }}",
    "{{ '%1000000000d'|format(3) }}",
    "{{ '%*d'|format(1000000000, 3) }}",
    "{{ '%.*f'|format(1000000000, 3.0) }}",
    "{{ '%.1000000000f' % 3.0 }}",
    "{{ '%(x)1000000000s' % {'x': 1} }}",
    "{{ '{:1000000000}'.format(3) }}",
    "{{ '{:{}}'.format(3, 1000000000) }}",
    "{{ '{:{w}}'.format(3, w=1000000000) }}",
    "{{ lipsum(10**9) }}",
]


@pytest.mark.parametrize("source", RUNAWAYS)
def test_what_would_not_end_is_refused(source):
    with pytest.raises((jinja2.TemplateError, TypeError, ValueError)):
        text(source)


def test_nothing_is_computed_while_a_template_is_read():
    """Jinja computes constants when it compiles; a configuration is only read."""
    for source in RUNAWAYS:
        if "{%" not in source:
            expression(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ q }}", "why"),
        ("{{ number }} {{ '{:,}'.format(number) }} {{ '%d'|format(number) }}", "12345678 12,345,678 12345678"),
        ("{{ options|join(', ') }}", "six, eight"),
        ("{{ options|map('upper')|join('/') }}", "SIX/EIGHT"),
        ("{% for o in options %}{{ 'AB'[loop.index0] }}. {{ o }}\n{% endfor %}", "A. six\nB. eight\n"),
        ("{{ nested.text }}{{ nested['text'] }}{{ nested.values[0] }}", "tt1"),
        ("{{ nothing or '-' }}{{ nan or '-' }}{{ nothing|default('-', true) }}", "---"),
        ("{{ nothing is none }}{{ nan is none }}{{ q is none }}{{ nothing == none }}", "TrueTrueFalseTrue"),
        ("{{ mixed|select|join }}{{ mixed|reject('none')|join }}", "aa"),
        ("{{ q ~ 1 ~ '.' }}", "why1."),
        ("{{ {'a': nothing, 'ü': '<'}|tojson }}", '{"a": null, "ü": "<"}'),
        ("{{ '3'|int + 1 }} {{ ' 4.0 '|int }} {{ 'x'|int(7) }} {{ '1.5'|float }} {{ ''|float(0) }}", "4 4 7 1.5 0"),
        ("{{ 'ff'|int(base=16) }}", "255"),
        ("{{ q.index('h') }}{{ q.count('hy') }}", "11"),
        ("{{ range(3)|join }}{{ 'ab' * 3 }}{{ 2 ** 10 }}", "012ababab1024"),
        ("{{ q.ljust(5) }}|{{ q|center(7) }}|", "why  |  why  |"),
        ("{{ 'In 2024 %s, %5.1f' % (q, 1.25) }} {{ '{0:>5}2024{{}}'.format(q) }}", "In 2024 why,   1.2   why2024{}"),
        ("{{ q }}\n", "why\n"),
    ],
)
def test_what_templates_can_do(source, expected):
    assert text(source) == expected


MISTAKES = [
    "{{ nothing }}",
    "{{ q ~ nothing }}",
    "{{ nothing|upper }}",
    "{{ '%s' % nothing }}",
    "{{ '{}'.format(nothing) }}",
    "{{ mixed|join }}",
    "{{ nan }}",
    "{{ q ~ nan }}",
    "{{ nan|string }}",
    "{{ nothing|trim }}",
    "{{ none }}",
    "{{ options }}",
    "{{ q ~ options }}",
    "{{ options|string }}",
    "{{ '%s' % options }}",
    "{{ nested }}",
    "{{ q.upper }}",
    "{{ q ~ q.upper }}",
    "{{ range }}",
    "{{ ['a', 'b'] }}",
    "{{ ('a', 'b') ~ '' }}",
    "{{ ''|int }}",
    "{{ 'x'|int }}",
    "{{ '3.7'|int }}",
    "{{ '1_0'|int }}",
    "{{ nothing|int }}",
    "{{ ''|float }}",
    "{{ 'nan'|float }}",
    "{{ 'inf'|int }}",
    "{{ q.index('') }}",
    "{{ q.find(3) }}",
    "{{ '١'|float }}",
    "{{ absent }}",
]


@pytest.mark.parametrize("source", MISTAKES)
def test_what_would_become_text_by_mistake_is_an_error(source):
    with pytest.raises((jinja2.UndefinedError, TypeError, ValueError)):
        text(source)


@pytest.mark.parametrize("name", ["random", "safe", "escape", "e", "xmlattr", "urlize"])
def test_filters_that_are_not_for_prompts(name):
    with pytest.raises(jinja2.TemplateSyntaxError, match=f"No filter named '{name}'"):
        template(f"{{{{ q | {name} }}}}")


def test_fields_of_a_template():
    assert fields_of("{{ a }}{% for x in b %}{{ x }}{{ range(3) }}{% endfor %}", True) == ["a", "b"]
    assert fields_of("{{ 'AB'.index(c) }}", False) == ["c"]
    assert fields_of("dict(a=1)", False) == []


# --- letter


@given(st.text(max_size=3) | st.integers() | st.none() | st.booleans() | st.floats() | st.lists(st.text(max_size=1)))
def test_a_letter_is_an_index_and_nothing_else_is(value):
    stripped = value.strip() if isinstance(value, str) else ""
    if len(stripped) == 1 and stripped in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        assert letter(value) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(stripped.upper())
    else:
        with pytest.raises((ValueError, TypeError)):
            letter(value)


@given(st.text(max_size=4))
def test_a_search_in_a_gold_expression_finds_a_letter_or_fails(answer):
    evaluate = expression("'ABCD'.index(answer)", gold=True)
    try:
        found = evaluate({"answer": answer})
    except ValueError:
        assert len(answer) != 1 or answer not in "ABCD"
    else:
        assert answer == "ABCD"[found]


# --- parse

SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NESTED = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(st.lists(NESTED, max_size=4) | st.dictionaries(st.text(max_size=5), NESTED, max_size=4))
def test_what_json_or_python_writes_is_read_back(value):
    assert parse(json.dumps(value)) == value
    assert parse(json.dumps(value, ensure_ascii=False)) == value
    assert parse(repr(value)) == value
    assert parse(value) == value


@given(st.text(alphabet="[]{}'\", :ab1\\\n()None.eu", max_size=14))
def test_any_other_text_is_refused(written):
    try:
        found = parse(written)
    except (ValueError, TypeError):
        return
    assert isinstance(found, list | dict)
    try:
        expected = json.loads(written)
    except ValueError:
        expected = ast.literal_eval(written.strip())
    assert found == (list(expected) if isinstance(expected, tuple) else expected)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "expected a list or mapping as JSON or Python writes it, found ''"),
        ("six, eight", "expected a list or mapping"),
        ("5", "expected a list or mapping"),
        ('"a"', "expected a list or mapping"),
        ("['a' 'b']", "two texts without a comma between them, as numpy prints arrays"),
        ("['a'\n 'b']", "two texts without a comma between them"),
        ("[1 2]", "expected a list or mapping"),
        ("['a', ..., 'b']", "expected texts and numbers, found Ellipsis"),
        ("[b'a']", "expected texts and numbers, found b'a'"),
        ("[b'']", "expected texts and numbers, found b''"),
        ("{'a': 1, 'a': 2}", "a mapping has a key twice"),
        ('{"a": 1, "a": 2}', "an object has the key 'a' twice"),
        ("[__import__('os')]", "expected a list or mapping"),
        ("[" * 5000, "expected a list or mapping|nested too deeply"),
        ("array(['a'])", "expected a list or mapping"),
    ],
)
def test_what_is_no_list(written, message):
    with pytest.raises(ValueError, match=message):
        parse(written)
