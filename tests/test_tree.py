import copy
import dataclasses
import math
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, deque
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import optree
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gradproof._errors import InputError
from gradproof.tree import Tree, entry_name, flatten


class Pair(NamedTuple):
    weight: Any
    bias: Any


@dataclasses.dataclass
class Layer:
    weight: Any
    bias: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    weight: Any


@dataclasses.dataclass
class Derived:
    weight: Any
    doubled: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.doubled = 2 * self.weight


@dataclasses.dataclass
class Configured:
    weight: Any
    stride: int = dataclasses.field(default=1, metadata={"static": True})
    name: str = dataclasses.field(default="conv", metadata={"pytree_node": False})


class Alike:
    """A hostile key: all its instances print the same."""

    def __repr__(self) -> str:
        return "key"


class Multiline:
    def __repr__(self) -> str:
        return "two\nlines"


def assert_same(a: Any, b: Any) -> None:
    """Assert that two structures have the same types, keys in the same order, and numbers."""
    if isinstance(a, float):
        assert isinstance(b, float)
    else:
        assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        assert isinstance(b, dict)
        assert getattr(a, "default_factory", None) is getattr(b, "default_factory", None)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple | deque):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same(left, right)
    elif dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif a is not None:
        np.testing.assert_array_equal(a, b)


def refusal(x: object) -> str:
    with pytest.raises(InputError) as caught:
        flatten(x)
    return str(caught.value)


# --- names ---


@pytest.mark.parametrize(
    ("x", "names"),
    [
        (np.ones(3), ("x",)),
        (1.5, ("x",)),
        ({"conv1": {"weight": 1.0, "bias": 2.0}}, ("conv1.weight", "conv1.bias")),
        ({"layers": [{"bias": 1.0}, (2.0,)]}, ("layers.0.bias", "layers.1.0")),
        ([1.0, {"w": 2.0}], ("x.0", "x.1.w")),
        ({"head": Pair(1.0, 2.0)}, ("head.weight", "head.bias")),
        (Layer(1.0, Layer(2.0)), ("weight", "bias.weight")),
        ({"w": deque([1.0])}, ("w.0",)),
        ({"conv1.weight": 1.0, "layers.0.b": 2.0}, ("conv1.weight", "layers.0.b")),
        ({"größe": 1.0}, ("größe",)),
    ],
)
def test_names_join_keys_attributes_and_indices_with_dots(x: object, names: object) -> None:
    assert flatten(x).names == names


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a.b", "w['a.b']"),
        ("a b", "w['a b']"),
        ("line\nbreak", r"w['line\nbreak']"),
        ("", "w['']"),
        ("0", "w['0']"),
        (3, "w[3]"),
        (-1, "w[-1]"),
        (None, "w[None]"),
        (("a", 1), "w[('a', 1)]"),
        ("it's", 'w["it\'s"]'),
        ("\u202ereversed", r"w['\u202ereversed']"),
        ("\ud800", r"w['\ud800']"),
        (np.str_("conv"), "w.conv"),
    ],
)
def test_a_key_that_is_no_identifier_stands_in_brackets(key: object, name: str) -> None:
    tree = flatten({"w": {key: 1.0}})
    assert tree.names == (name,)
    assert tree.names[0].isprintable()


def test_a_key_whose_repr_has_a_line_break_stays_on_one_line() -> None:
    assert flatten({"w": {Multiline(): 1.0}}).names == (r"w[two\nlines]",)


def test_a_bracket_at_the_root_is_led_by_the_root() -> None:
    assert flatten({"a b": 1.0, 0: 2.0}, root="params").names == ("params['a b']", "params[0]")


def test_keys_and_indices_that_look_alike_get_different_names() -> None:
    assert flatten({"w": {0: 1.0, "0": 2.0}}).names == ("w[0]", "w['0']")
    assert flatten({"w": [1.0]}).names == ("w.0",)


@pytest.mark.parametrize(
    ("x", "names"),
    [
        ({"a.b": 1.0, "a": {"b": 2.0}}, ("x['a.b']", "x.a.b")),
        ({"x": {"a b": 1.0}, "a b": 2.0}, ("x.x['a b']", "x['a b']")),
        ({"w": {"a']['b": 1.0, "a": {"b": 2.0}}}, ("w[\"a']['b\"]", "w.a.b")),
    ],
)
def test_names_that_would_clash_are_written_in_full(x: object, names: object) -> None:
    assert flatten(x).names == names


def test_keys_that_cannot_be_told_apart_are_refused() -> None:
    message = refusal({"w": {Alike(): 1.0, Alike(): 2.0}})
    assert message == "Expected keys that print differently but got x.w[key] twice"


def test_names_follow_the_order_in_which_the_structure_was_written() -> None:
    x = {"conv10": 1.0, "conv2": 2.0, "another": 3.0, 7: 4.0}
    assert flatten(x).names == ("conv10", "conv2", "another", "x[7]")


@given(st.dictionaries(st.text() | st.integers() | st.none() | st.booleans(), st.just(1.0)))
def test_no_two_tensors_ever_share_a_name(keys: dict[Any, float]) -> None:
    tree = flatten({"x": keys, "more": {**keys, "w": dict(keys)}, **keys, "last": 1.0})
    assert len(set(tree.names)) == len(tree.names) == len(tree.leaves)


# --- what flatten keeps ---


def test_arrays_are_not_copied_and_keep_their_dtype() -> None:
    x: dict[str, Any] = {
        str(dtype): np.ones(2, dtype) for dtype in (np.float16, np.float32, float, np.longdouble)
    } | {"swapped": np.ones(2, ">f8"), "strided": np.ones((4, 4))[::2, 1]}
    leaves = flatten(x).leaves
    assert all(leaf is array for leaf, array in zip(leaves, x.values(), strict=True))


def test_a_read_only_array_will_do() -> None:
    w = np.ones(2)
    w.flags.writeable = False
    tree = flatten({"w": w})
    assert tree.leaves[0] is w
    assert not w.flags.writeable


def test_flatten_match_and_unflatten_leave_the_structure_alone() -> None:
    inner = {"b": np.ones(2), "a": [1.0, None]}
    x: dict[str, Any] = {"layer": Layer(inner, Derived(3.0)), "empty": np.ones((0, 2))}
    before = copy.deepcopy(x)
    tree = flatten(x)
    tree.unflatten(leaf + 1 for leaf in tree.leaves)
    tree.match(x, argument="grad")
    assert_same(before, x)
    assert x["layer"].weight is inner


def test_none_and_empty_containers_hold_no_tensors_and_come_back() -> None:
    x: dict[str, Any] = {"w": 1.0, "none": None, "list": [], "dict": {}, "record": Layer(None)}
    tree = flatten(x)
    assert tree.names == ("w",)
    assert_same(x, tree.unflatten(tree.leaves))


def test_an_empty_tensor_is_kept_beside_others() -> None:
    assert flatten({"w": np.ones((0, 3)), "b": 1.0}).names == ("w", "b")


def test_a_tied_array_is_two_tensors() -> None:
    w = np.ones(2)
    assert flatten({"encoder": w, "decoder": w}).names == ("encoder", "decoder")


def test_a_matrix_is_taken_as_the_array_it_holds() -> None:
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0, 2.0]])
    leaf = flatten(matrix).leaves[0]
    assert type(leaf) is np.ndarray
    assert np.shares_memory(leaf, matrix)


# --- there and back ---


scalars = st.floats(allow_nan=False, allow_infinity=False)
leaves = scalars | st.sampled_from([0, 1, 2]).map(
    lambda n: np.arange(2.0**n).reshape((1,) * n + (-1,))
)
structures = st.recursive(
    leaves | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(deque)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict)
        | st.dictionaries(st.text(), inner, max_size=3).map(lambda d: defaultdict(list, d))
        | st.builds(Pair, inner, inner)
        | st.builds(Layer, inner, inner)
        | st.builds(Frozen, inner)
    ),
    max_leaves=12,
)


@given(structures)
def test_any_structure_comes_back_as_it_was(inner: Any) -> None:
    x = [inner, 1.0]
    tree = flatten(x)
    assert_same(x, tree.unflatten(tree.leaves))
    assert len(set(tree.names)) == len(tree.names)


@given(structures)
def test_any_structure_matches_itself(inner: Any) -> None:
    tree = flatten([inner, 1.0])
    matched = tree.match([inner, 1.0], argument="grad")
    for leaf, match in zip(tree.leaves, matched, strict=True):
        np.testing.assert_array_equal(leaf, match)


@given(st.dictionaries(st.text(), leaves, min_size=1), st.randoms())
def test_the_order_of_keys_does_not_matter(x: dict[str, Any], random: Any) -> None:
    keys = list(x)
    random.shuffle(keys)
    tree = flatten({"w": x, "last": 0.0})
    other = {"last": 0.0, "w": {key: x[key] for key in keys}}
    for leaf, match in zip(tree.leaves, tree.match(other, argument="grad"), strict=True):
        np.testing.assert_array_equal(leaf, match)


@pytest.mark.parametrize("number", [2.0, np.float64(2.0), np.float32(2.0)])
def test_a_float_comes_back_as_a_numpy_scalar(number: Any) -> None:
    tree = flatten({"gain": number})
    back = tree.unflatten(tree.leaves)["gain"]
    assert type(back) is (np.float32 if isinstance(number, np.float32) else np.float64)
    assert math.sin(back) == pytest.approx(math.sin(2.0))


def test_an_array_without_dimensions_comes_back_as_an_array() -> None:
    tree = flatten({"gain": np.array(2.0)})
    back = tree.unflatten([np.float64(3.0)])["gain"]
    assert type(back) is np.ndarray
    assert back.shape == ()


def test_unflatten_takes_what_the_leaves_hold_without_a_cast() -> None:
    tree = flatten({"w": np.ones(2, np.float32), "b": 1.0})
    back = tree.unflatten([np.ones(2), np.ones((5, 1))])
    assert back["w"].dtype == np.float64
    assert back["b"].shape == (5, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_unflatten_refuses_another_number_of_leaves(count: int) -> None:
    with pytest.raises(InputError, match=f"Expected 2 leaves but got {count}"):
        flatten([1.0, 2.0]).unflatten([1.0] * count)


def test_a_tree_works_in_another_process() -> None:
    tree = flatten({"w": np.ones(2), "pair": (1.0, [2.0])})
    program = (
        "import pickle, sys; tree = pickle.load(sys.stdin.buffer); "
        "print(tree.names, tree.unflatten(tree.leaves)['w'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(tree), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "('w', 'pair.0', 'pair.1.0') [1. 1.]"


def test_threads_agree_on_the_order() -> None:
    x = {f"w{i}": {"b": 1.0, "a": 2.0} for i in range(40, 0, -1)}
    names: list[tuple[str, ...]] = []
    threads = [
        threading.Thread(target=lambda: names.extend(flatten(x).names for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 80
    assert set(names) == {flatten(x).names}


# --- dataclasses ---


def test_a_dataclass_is_opened_at_any_depth() -> None:
    x = {"net": [Layer(np.ones(2), Frozen((1.0, Layer(2.0))))]}
    tree = flatten(x)
    assert tree.names == ("net.0.weight", "net.0.bias.weight.0", "net.0.bias.weight.1.weight")
    back = tree.unflatten(leaf + 1 for leaf in tree.leaves)
    assert_same({"net": [Layer(np.full(2, 2.0), Frozen((2.0, Layer(3.0))))]}, back)


def test_what_a_dataclass_derives_follows_its_parameters() -> None:
    tree = flatten(Derived(np.ones(2)))
    assert tree.names == ("weight",)
    np.testing.assert_array_equal(tree.unflatten([np.full(2, 5.0)]).doubled, [10.0, 10.0])


def test_a_field_marked_constant_is_no_tensor_and_comes_back() -> None:
    tree = flatten(Configured(np.ones(2), stride=3, name="first"))
    assert tree.names == ("weight",)
    back = tree.unflatten(tree.leaves)
    assert (back.stride, back.name) == (3, "first")


def test_a_dataclass_defined_in_a_function_leaves_no_trace_in_optree() -> None:
    @dataclasses.dataclass
    class Local:
        weight: Any

    assert flatten(Local(1.0)).names == ("weight",)
    local: Any = Local(1.0)
    assert optree.tree_leaves(local, namespace="gradproof") == [local]


def test_a_dataclass_itself_is_no_leaf() -> None:
    assert refusal({"w": Layer}).startswith("Expected a NumPy array or float but got x.w of <class")


# --- refusals ---


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.arange(3), "dtype int64: convert it to float, as in x.astype(float)"),
        (np.arange(3, dtype=np.uint8), "dtype uint8: convert it to float, as in x.astype(float)"),
        (np.ones(2, bool), "dtype bool: convert it to float, as in x.astype(float)"),
        (3, "dtype int64: convert it to float, as in x.astype(float)"),
        (10**30, "dtype object: convert it to float, as in x.astype(float)"),
        (True, "dtype bool: convert it to float, as in x.astype(float)"),
        (np.array([1.0, None]), "dtype object: convert it to float, as in x.astype(float)"),
        (np.ones(2, complex), "dtype complex128: split it into real and imaginary parts"),
        (1j, "dtype complex128: split it into real and imaginary parts"),
        (np.complex64(1j), "dtype complex64: split it into real and imaginary parts"),
        ("conv", "dtype <U4"),
        (b"conv", "dtype |S4"),
        (np.array(["a"]), "dtype <U1"),
        (np.zeros(1, "M8[s]"), "dtype datetime64[s]"),
        (np.zeros(1, [("a", float)]), "dtype [('a', '<f8')]"),
    ],
)
def test_what_is_no_real_number_is_refused_by_its_dtype(leaf: object, message: str) -> None:
    expected = "Expected floating point but got {} with " + message
    assert refusal({"w": [leaf]}) == expected.format("x.w.0")
    assert refusal(leaf) == expected.format("x")


@pytest.mark.parametrize(
    "leaf",
    [
        sparse.csr_array(np.eye(2)),
        np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        np.ma.masked,
        MappingProxyType({"a": 1.0}),
        {1.0, 2.0},
        range(3),
        object(),
        math.sin,
        type("Duck", (), {"__array__": lambda self: np.ones(2)})(),
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_other_objects_are_refused_by_their_type(leaf: object) -> None:
    expected = f"Expected a NumPy array or float but got x.w of {type(leaf)}"
    assert refusal({"w": leaf}) == expected


def test_the_messages_name_the_root_that_was_given() -> None:
    with pytest.raises(InputError, match=r"got params\['a b'\]\.w with dtype int64"):
        flatten({"a b": {"w": np.arange(2)}}, root="params")


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.array([[0.0, 1.0], [2.0, 3.0], [4.0, np.nan]]), "x.w[2, 1] is nan"),
        (np.array([0.0, -np.inf, np.nan]), "x.w[1] is -inf"),
        (np.array([np.inf], np.float16), "x.w[0] is inf"),
        (np.array(np.nan), "x.w is nan"),
        (math.inf, "x.w is inf"),
    ],
)
def test_the_first_entry_that_is_not_finite_is_named(leaf: object, message: str) -> None:
    assert refusal({"v": np.ones(3), "w": leaf}) == f"Expected finite numbers but {message}"


@pytest.mark.parametrize(
    ("x", "came"),
    [
        ({}, "x={}"),
        ([[], {}], "x=[[], {}]"),
        (None, "x=None"),
        (np.ones((3, 0)), "only empty arrays"),
        ([np.ones(0), np.ones(0)], "only empty arrays"),
    ],
)
def test_a_tree_without_entries_is_refused(x: object, came: str) -> None:
    assert refusal(x) == f"Expected at least one number but got {came}"


def test_a_structure_that_holds_itself_is_refused() -> None:
    cycle: list[Any] = [1.0]
    cycle.append(cycle)
    assert refusal({"w": cycle}) == "Expected x to be a tree but it is too deep or cyclic"
    layer = Layer(1.0)
    layer.bias = layer
    assert refusal(layer) == "Expected x to be a tree but it is too deep or cyclic"


def test_a_refusal_leaves_optree_as_it_was() -> None:
    refusal({"b": "text", "a": "text"})
    assert optree.tree_paths({"b": 1, "a": 2}, namespace="gradproof") == [("a",), ("b",)]  # type: ignore[arg-type]


# --- match ---


@pytest.fixture
def tree() -> Tree:
    return flatten({"conv1": Pair(np.ones((2, 3)), np.ones(2)), "layers": [1.0, np.ones(1)]})


def gradient() -> dict[str, Any]:
    conv1 = {"weight": np.full((2, 3), 4.0), "bias": np.full(2, 5.0)}
    return {"layers": (6.0, np.full(1, 7.0)), "conv1": conv1}


def test_match_puts_tensors_in_the_order_of_the_names(tree: Tree) -> None:
    matched = tree.match(gradient(), argument="grad")
    assert [float(array.flat[0]) for array in matched] == [4.0, 5.0, 6.0, 7.0]


def test_match_does_not_copy_floating_point_arrays(tree: Tree) -> None:
    grad = gradient()
    grad["conv1"]["bias"] = np.ones(2, np.float32)
    matched = tree.match(grad, argument="grad")
    assert matched[0] is grad["conv1"]["weight"]
    assert matched[1] is grad["conv1"]["bias"]


@pytest.mark.parametrize("bias", [np.array([1, 0]), np.array([True, False])])
def test_match_takes_whole_numbers_as_floats(tree: Tree, bias: Any) -> None:
    grad = gradient()
    grad["conv1"]["bias"] = bias
    matched = tree.match(grad, argument="grad")[1]
    assert matched.dtype == np.float64
    np.testing.assert_array_equal(matched, [1.0, 0.0])


def test_match_takes_arrays_of_other_libraries(tree: Tree) -> None:
    class Foreign:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([8.0, 9.0])

    grad = gradient()
    grad["conv1"]["bias"] = Foreign()
    np.testing.assert_array_equal(tree.match(grad, argument="grad")[1], [8.0, 9.0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_match_passes_on_what_is_not_finite(tree: Tree, value: float) -> None:
    grad = gradient()
    grad["conv1"]["bias"] = np.full(2, value)
    np.testing.assert_array_equal(tree.match(grad, argument="grad")[1], [value, value])


def without_bias(grad: dict[str, Any]) -> None:
    del grad["conv1"]["bias"]


def with_none(grad: dict[str, Any]) -> None:
    grad["conv1"]["bias"] = None


def with_a_misspelt_key(grad: dict[str, Any]) -> None:
    grad["conv1"]["bais"] = grad["conv1"].pop("bias")


def with_another_key(grad: dict[str, Any]) -> None:
    grad["step"] = 1.0


def with_a_shorter_list(grad: dict[str, Any]) -> None:
    grad["layers"] = [1.0]


def with_a_longer_list(grad: dict[str, Any]) -> None:
    grad["layers"] = [1.0, 1.0, 1.0]


def with_a_bare_array(grad: dict[str, Any]) -> None:
    grad["layers"] = np.ones(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_bias, "missing grad.conv1.bias; unexpected none"),
        (with_none, "missing grad.conv1.bias; unexpected none"),
        (with_a_misspelt_key, "missing grad.conv1.bias; unexpected grad.conv1.bais"),
        (with_another_key, "missing none; unexpected grad.step"),
        (with_a_shorter_list, "missing grad.layers.1; unexpected none"),
        (with_a_longer_list, "missing none; unexpected grad.layers.2"),
        (with_a_bare_array, "missing grad.layers.0, grad.layers.1; unexpected grad.layers"),
    ],
)
def test_match_says_what_is_missing_and_what_is_unexpected(
    tree: Tree, change: Any, message: str
) -> None:
    grad = gradient()
    change(grad)
    with pytest.raises(InputError) as caught:
        tree.match(grad, argument="grad")
    assert str(caught.value) == f"Expected grad in the structure of x: {message}"


@pytest.mark.parametrize("other", [None, [], {}])
def test_match_refuses_nothing_for_a_bare_array(other: object) -> None:
    with pytest.raises(InputError) as caught:
        flatten(np.ones(2), root="p").match(other, argument="grad")
    message = "Expected grad in the structure of p: missing grad; unexpected none"
    assert str(caught.value) == message


def test_match_does_not_take_a_flat_dict_for_a_nested_one() -> None:
    with pytest.raises(InputError, match=r"missing grad\.a\.b; unexpected grad\['a\.b'\]"):
        flatten({"a": {"b": 1.0}}).match({"a.b": 1.0}, argument="grad")


def test_match_keeps_its_message_short_for_a_whole_model() -> None:
    x = {f"layer{i}": 1.0 for i in range(1000)}
    with pytest.raises(InputError) as caught:
        flatten(x).match({"other": 1.0}, argument="grad")
    message = str(caught.value)
    assert len(message) < 300
    assert message.endswith(", [...]; unexpected grad.other")


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (np.ones((4, 2)), "Expected shape (2,) but got grad.conv1.bias of shape (4, 2)"),
        (1.0, "Expected shape (2,) but got grad.conv1.bias of shape ()"),
        (
            np.ones(2, complex),
            "Expected floating point but got grad.conv1.bias with dtype complex128: "
            "split it into real and imaginary parts",
        ),
        ("text", "Expected floating point but got grad.conv1.bias with dtype <U4"),
        (
            np.ma.masked_array([1.0, 2.0]),
            "Expected a NumPy array or float but got grad.conv1.bias of "
            "<class 'numpy.ma.MaskedArray'>",
        ),
    ],
)
def test_match_refuses_tensors_of_another_kind(tree: Tree, bias: object, message: str) -> None:
    grad = gradient()
    grad["conv1"]["bias"] = bias
    with pytest.raises(InputError) as caught:
        tree.match(grad, argument="grad")
    assert str(caught.value) == message


# --- entry_name ---


@pytest.mark.parametrize(
    ("shape", "flat_index", "expected"),
    [((), 0, "w"), ((5,), 4, "w[4]"), ((2, 3), 5, "w[1, 2]"), ([4, 1, 3, 3], 34, "w[3, 0, 2, 1]")],
)
def test_an_entry_is_named_by_its_index(shape: Any, flat_index: int, expected: str) -> None:
    assert entry_name("w", shape, flat_index) == expected


@pytest.mark.parametrize(("shape", "flat_index"), [((), 1), ((2, 2), 4), ((2,), -1), ((0,), 0)])
def test_an_entry_outside_the_tensor_has_no_name(shape: Any, flat_index: int) -> None:
    with pytest.raises(ValueError, match=r"out of bounds|dims"):
        entry_name("w", shape, flat_index)
