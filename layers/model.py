"""A model: layers in a chain or a graph without cycles. It is itself a layer: pure `fwd` and `bwd`, the same shell, parts of other models."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gradcheck.law import Law, Shape, ShapeError

from .base import Array, Axes, Layer, Record, Rng, Slot, Vars, hyper, is_whole
from .data import batches, size, split
from .losses import loss, metric
from .optimizers import optimizer
from .spec import suggest


def _one(layer: str, **options: Any) -> dict[str, Any]:
    return {"layer": layer, **options}


NETS: list[Any] = [                                                  # a chain, a diamond, weights used twice, and one of each kind of input
    [_one("Dense", n_out=3, act_fn="tanh"), _one("Dense", n_out=2)],
    [_one("Dense", n_out=3), [_one("Dense", n_out=3, act_fn="sigmoid"), 0], [_one("Multiply"), 0, 1], [_one("Add"), 2, 0]],
    [_one("Dense", n_out=4), _one("Dense", n_out=4, act_fn="tanh"), _one("LayerNorm1D"), 1, _one("Dropout"), 2, 4],
    [_one("Conv2D", out_ch=2, kernel_shape=2, act_fn="elu"), _one("BatchNorm2D"), _one("Pool2D", kernel_shape=2), _one("Flatten"), _one("Dense", n_out=3)],
    [_one("Embedding", n_out=2, vocab_size=5), _one("Conv1D", out_ch=2, kernel_width=2, pad="causal"), _one("Flatten")],
    [_one("GRU", n_out=2), [_one("DotProductAttention", dropout_p=0.2), 0, 0, 0], _one("Softmax", dim=1)],
]


def _places(items: Any) -> list[tuple[Layer, tuple[int, ...]]]:
    """The layer and the sources of each place. Errors: TypeError or ValueError says at which place something is wrong."""
    places: list[tuple[Layer, tuple[int, ...]]] = []
    for i, item in enumerate(items):
        layer, *sources = item if isinstance(item, list | tuple) and item else [item]
        if isinstance(layer, Mapping):
            layer = _built(layer)
        elif isinstance(layer, int) and 0 <= layer < i:
            layer = places[layer][0]
        if not isinstance(layer, Layer):
            raise TypeError(f"place {i} is {layer!r}; expected a layer, or the number of a place before it")
        if wrong := [j for j in sources if not isinstance(j, int) or not -1 <= j < i]:
            raise ValueError(f"place {i} ({type(layer).__name__}) reads {wrong[0]!r}; it can read -1 (the input) to {i - 1}")
        places.append((layer, tuple(sources) or (i - 1,)))
    if unread := set(range(len(places) - 1)) - {j for _, sources in places for j in sources}:
        raise ValueError(f"no place reads the output of place {min(unread)} ({type(places[min(unread)][0]).__name__})")
    if not places:
        raise ValueError("a model has one layer or more")
    return places


def _built(description: Mapping[str, Any]) -> Layer:
    """A layer from its `hyperparameters`, which may have lost their tuples in a file."""
    name = description.get("layer")
    if name not in Layer.registry:
        raise ValueError(suggest("layer", name, Layer.registry))
    return Layer.registry[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in description.items() if k != "layer"})


def _named(i: int, part: Mapping[str, Any]) -> Vars:
    return Vars({f"{i}.{k}": v for k, v in part.items()})


def _part(whole: Mapping[str, Any], i: int) -> Vars:
    return Vars({k.removeprefix(f"{i}."): v for k, v in whole.items() if k.startswith(f"{i}.")})


def _joint(name: str) -> Any:
    """The dictionaries of that name of all layers, as one."""
    def get(model: Model) -> Vars:
        return Vars({k: v for i, layer in model.own.items() for k, v in _named(i, getattr(layer, name)).items()})

    def put(model: Model, new: Vars) -> None:
        for i, layer in model.own.items():
            setattr(layer, name, getattr(layer, name) | _part(new, i))

    return property(get, put)


@contextmanager
def _at(i: int) -> Iterator[None]:
    """An error tells the place where it arose."""
    try:
        yield
    except (TypeError, ValueError) as e:
        raise type(e)(f"Model, place {i}: {e}") from e


def family(layer: Any) -> Iterator[Any]:
    """A layer, and what it is made of, and so on."""
    yield layer
    for child in getattr(layer, "children", tuple)():
        yield from family(child)


@contextmanager
def mode(layers: Iterable[Any], training: bool) -> Iterator[None]:
    """These layers, and what they are made of, training or not for a while."""
    before = [(layer, layer.training) for whole in layers for layer in family(whole)]
    for layer, _ in before:
        layer.training = training
    try:
        yield
    finally:
        for layer, flag in before:
            layer.training = flag


class Training:
    """Fitting and using whatever has these methods and attributes, and `children`, if it is made of layers that have a mode."""
    forward: Any
    backward: Any
    update: Any
    flush_gradients: Any
    loss: Any
    metrics: Any
    rng: Rng

    def fit(self, X: Any, Y: Any, epochs: int = 1, batch_size: int | None = 32, validation_split: float = 0.0, progress: bool = True, *,
            each: Callable[[int, dict[str, float]], None] = lambda epoch, scores: None) -> dict[str, list[float]]:
        """Train on shuffled batches; the scores by name, one for each epoch: over the batches as they came, in training, and with "val_"
        ahead over the share `validation_split` of the rows that is held out. `each(epoch, scores)` is called as they come.
        """
        if not is_whole(epochs, 0):
            raise ValueError(f"fit takes a whole number of epochs from 0 on, got {epochs!r}")
        train, held = split((X, Y), (1 - validation_split, validation_split), self.rng)
        if not (rows := size(train)):
            raise ValueError(f"fit has no rows to train on: {size((X, Y))} given, validation_split={validation_split}")
        history: dict[str, list[float]] = {}
        with bar(epochs * -(-rows // (batch_size or rows)), progress) as advance:
            for epoch in range(epochs):
                with mode([self], True):
                    scores = _mean([self._step(x, y, advance) for x, y in batches(train, batch_size, self.rng)])
                if size(held):
                    scores |= {f"val_{k}": v for k, v in self.evaluate(*held).items()}
                for k, v in scores.items():
                    history.setdefault(k, []).append(v)
                each(epoch, scores)
        return history

    def _step(self, x: Any, t: Any, advance: Callable[[dict[str, float]], None]) -> tuple[int, dict[str, float]]:
        """One batch forward, backward, and into the weights. An error leaves no trace on the tape."""
        try:
            y = self.forward(x)
            scores = self._scores(t, y)
            self.backward(loss(self.loss).cotangent(t, y))
            self.update(scores["loss"])
        except BaseException:
            self.flush_gradients()
            raise
        advance(scores)
        return len(y), scores

    def predict(self, X: Any, batch_size: int | None = None) -> Array:
        """The outputs for all rows, as in evaluation; nothing is retained and no mode changes."""
        with mode([self], False):
            return np.concatenate([self.forward(x, retain_derived=False) for x, in batches((X,), batch_size)])

    def evaluate(self, X: Any, Y: Any, batch_size: int | None = None) -> dict[str, float]:
        """The loss and the metrics over all rows, as in evaluation."""
        return self._scores(Y, self.predict(X, batch_size))

    def _scores(self, t: Any, y: Array) -> dict[str, float]:
        rules = {m if isinstance(m, str) else getattr(m, "__name__", str(m)): metric(m) for m in self.metrics}
        return {"loss": loss(self.loss)(t, y)} | {name: float(rule(t, y)) for name, rule in rules.items()}


def _mean(scores: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """The mean over batches, each with as many votes as it has rows."""
    votes = [n for n, _ in scores]
    return {k: float(np.average([s[k] for _, s in scores], weights=votes)) for k in scores[0][1]}


@contextmanager
def bar(total: int, show: bool) -> Iterator[Callable[[dict[str, float]], None]]:
    """A progress bar on the terminal's error stream; what it yields moves it on and shows the scores."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    with Progress(*Progress.get_default_columns(), TextColumn("{task.fields[text]}"), console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("fit", total=total, text="")
        yield lambda scores: bar.update(task, advance=1, text="  ".join(f"{k} {v:.4f}" for k, v in scores.items()))


class Model(Training, Layer):
    """y = the last place's output, each place being a layer and the places it reads: `Dense(3)` reads the place before it, `(Add(), 0, 2)`
    places 0 and 2; -1 is the input, the first place's default. A layer that stands at several places, as the same object or as the number
    of its first place, has one set of weights.

    Parameters, gradients and residuals are those of the layers, as "0.W" by the number of the layer's first place. `optimizer` is for all
    layers; None leaves each its own. `seed` starts all random numbers, also those of `fit`. A loss or metric is a name or an object.
    """
    layers: Any = hyper(NETS, valid=list)
    loss: Any = "mse"
    optimizer: Any = None
    metrics: Any = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        places = self._validate("layers", _places)
        self.layers, self.sources = [layer for layer, _ in places], [sources for _, sources in places]
        self.homes = [next(j for j, other in enumerate(self.layers) if other is layer) for layer in self.layers]
        self.own = {i: self.layers[i] for i in sorted(set(self.homes))}
        self._validate("loss", loss)
        self._validate("metrics", lambda names: [metric(m) for m in names])
        given = self.optimizer
        super().__post_init__()
        for layer in self.own.values() if given is not None else ():
            layer.optimizer = optimizer(given)
        everyone = list(family(self))
        if len({id(layer) for layer in everyone}) < len(everyone):
            raise ValueError("Model: a layer stands at a place of this model, and inside the layer of another place")
        if self.seed is not None:
            for layer, rng in zip(everyone, np.random.default_rng(self.seed).spawn(len(everyone)), strict=True):
                layer.rng = rng

    # the graph ------------------------------------------------------------------------------------------------------------

    def walk(self, x: Any, step: Callable[..., Any]) -> Any:
        """The last place's value, when `step(i, *inputs)` gives that of place i."""
        values: list[Any] = []
        for i, sources in enumerate(self.sources):
            values.append(step(i, *(x if j < 0 else values[j] for j in sources)))
        return values[-1]

    def walk_back(self, dy: Any, step: Callable[[int, Any], Any]) -> Any:
        """The cotangent of the input, when `step(i, dy)` gives those of the inputs of place i: what several places read gets their sum."""
        ds = {len(self.layers) - 1: dy}
        for i in reversed(range(len(self.layers))):
            dxs = step(i, ds[i])
            for j, dx in zip(self.sources[i], dxs if isinstance(dxs, list | tuple) else [dxs], strict=True):
                ds[j] = ds[j] + dx if j in ds else dx
        return ds[-1]

    @property
    def law(self) -> str:                                            # type: ignore[override]
        """The axes of the input, as the first layer without `*` that reads it names them."""
        readers = [Law.parse(layer.law).sides(len(sources))[sources.index(-1)]
                   for layer, sources in zip(self.layers, self.sources, strict=True) if -1 in sources]
        return " ".join(next((side for side in readers if "*" not in side.terms), readers[0]).terms)

    @property
    def slots(self) -> dict[str, Slot]:                              # type: ignore[override]
        return {f"{i}.{k}": s for i, layer in enumerate(self.layers) for k, s in layer.slots.items() if s.kind == "noise" or i in self.own}

    def out_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        self.bind(*shapes)
        return (self.walk(shapes[0], self._shape),)

    def _shape(self, i: int, *shapes: Shape) -> Shape:
        with _at(i):
            outs = self.layers[i].out_shapes(*shapes)
            if len(outs) != 1:
                raise ShapeError(f"{type(self.layers[i]).__name__} has {len(outs)} outputs, a place has one")
            return outs[0]

    def draw(self, kind: str, rng: Rng, axes: Axes, dtype: DTypeLike = np.float64) -> Vars:
        drawn = Vars()

        def step(i: int, *shapes: Shape) -> Shape:
            if kind == "noise" or i in self.own:
                drawn.update(_named(i, self.layers[i].draw(kind, rng, self.layers[i].bind(*shapes), dtype)))
            return self._shape(i, *shapes)

        self.walk(self.shape(self.law, axes), step)
        return drawn

    def sample(self, rng: Rng, i: int, shape: Shape) -> Array:
        return self.layers[0].sample(rng, i, shape)

    # the two pure functions -----------------------------------------------------------------------------------------------

    def at(self, p: Vars, i: int) -> Vars:
        """What place i may read."""
        return Vars(train=p.train) | _part(p, self.homes[i]) | _part(p, i)

    def fwd(self, p: Vars, x: Any) -> tuple[Any, Vars]:
        r = Vars()

        def step(i: int, *xs: Any) -> Any:
            y, kept = self.layers[i].fwd(self.at(p, i), *xs)
            r.update(_named(i, kept))
            return y

        return self.walk(x, step), r

    def bwd(self, p: Vars, r: Vars, dy: Any) -> tuple[Any, Vars]:
        d = Vars()

        def step(i: int, dy: Any) -> Any:
            dxs, found = self.layers[i].bwd(self.at(p, i), _part(r, i), dy)
            for k, v in found.items():
                name = f"{self.homes[i] if k in self.layers[i].slots else i}.{k}"
                d[name] = d[name] + v if name in d else v
            return dxs

        return self.walk_back(dy, step), d

    # the shell: every layer keeps its own parameters, the model the tape ------------------------------------------------------

    parameters, accrued = _joint("parameters"), _joint("accrued")

    def children(self) -> Iterator[Layer]:
        return iter(self.own.values())

    def admit(self, x: ArrayLike) -> Array:
        with _at(0):
            return self.layers[0].admit(x)

    def _run(self, X: tuple[Any, ...], retain: bool, **given: Any) -> Any:
        self.out_shapes(*(self.admit(x).shape for x in X))
        p, r, before = Vars(), Vars(), [(layer, dict(vars(layer))) for layer in family(self)]

        def step(i: int, *xs: Any) -> Any:
            with _at(i):
                y = self.layers[i]._run(xs, retain)
            if retain:
                record = self.layers[i].tape.pop()
                p.update(_named(i, record.p))
                r.update(_named(i, record.r))
            return y

        try:
            y = self.walk(X[0], step)                                # as it came: each place admits what it reads
        except BaseException:                                        # a place that refuses its input leaves those before it as they were
            for layer, state in before:
                vars(layer).update(state)
            raise
        if retain:
            self.tape.append(Record(p, r, [(y.shape, y.dtype)]))
        return y

    def _pull(self, record: Record, dys: list[Array], retain_grads: bool) -> Any:
        return self.walk_back(dys[0], lambda i, dy: self.layers[i]._pull(Record(_part(record.p, i), _part(record.r, i), []), [dy], retain_grads))

    def update(self, cur_loss: float | None = None) -> None:
        for layer in self.children():
            layer.update(cur_loss)
        self.tape = []

    def flush_gradients(self) -> None:
        for layer in self.children():
            layer.flush_gradients()
        self.tape = []

    @property
    def hyperparameters(self) -> dict[str, Any]:
        described = [layer.hyperparameters if i in self.own else self.homes[i] for i, layer in enumerate(self.layers)]
        places = [one if sources == (i - 1,) else [one, *sources] for i, (one, sources) in enumerate(zip(described, self.sources, strict=True))]
        return super().hyperparameters | {"layers": places, "optimizer": None}

    def _adopt(self, twin: Self, arrays: Vars) -> None:
        if twin._plan() != self._plan():
            raise ValueError(f"Model: set_params keeps the layers and what they read, {self._plan()}, got {twin._plan()}")
        for i, layer in self.own.items():
            layer.set_params(twin.own[i].hyperparameters | _part(arrays, i))
        self.loss, self.metrics, self.seed = twin.loss, twin.metrics, twin.seed

    def _plan(self) -> list[tuple[str, int, tuple[int, ...]]]:
        return [(type(layer).__name__, home, sources) for layer, home, sources in zip(self.layers, self.homes, self.sources, strict=True)]

    # files ----------------------------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """`summary()` as an .npz file: JSON, and the arrays that it names. Errors: TypeError for a function given where a name could stand."""
        arrays: dict[str, Any] = {}

        def stow(v: Any) -> dict[str, str]:
            if not isinstance(v, np.ndarray | np.generic):
                raise TypeError(f"a model is saved by names and numbers, it holds {v!r}")
            arrays[f"a{len(arrays)}"] = v
            return {"array": f"a{len(arrays) - 1}"}

        text = json.dumps(self.summary(), default=stow)
        with open(path, "wb") as file:
            np.savez(file, summary=np.array(text), **arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """The model that `save` wrote."""
        with np.load(path) as data:
            summary = json.loads(str(data["summary"]), object_hook=lambda d: data[d["array"]] if d.keys() == {"array"} else d)
        return cls(**{k: v for k, v in summary["hyperparameters"].items() if k != "layer"}).set_params(summary)
