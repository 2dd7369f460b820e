"""The catalogue: what goes wrong in hand-written back-propagation through time, each mistake as a line to be replaced.

An entry names a function of this package, what somebody did there, and the algebra that was missed, followed by its
edits: a piece of the function's source, and what stands there in the mistaken version. :mod:`minirnn.grading.diagnosis`
plants them, to recognize a mistake by the answers it gives.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A line that should read differently."""

    function: str  # where the line stands, below minirnn: "rnn.backward"
    sentence: str  # what was done
    algebra: str  # what should have been done
    edits: tuple[tuple[str, str], ...]  # pieces of the source, and what stands there instead


def mistake(function: str, sentence: str, algebra: str, *edits: tuple[str, str]) -> Mistake:
    """An entry of the catalogue, edits last."""
    return Mistake(function, sentence, algebra, edits)


def through_time(cell: str, da: str, end: str) -> list[Mistake]:
    """What can go wrong in every cell's backward pass after the loop; ``da`` is what reaches ``Whh @ h[t-1]``."""
    dWxh, dbh = '"Wxh": da_bag @ to_bag(x).T', '"bh": da_bag.sum(axis=1, keepdims=True)'
    dWhh, before = f'"Whh": {da}_bag @ to_bag(hprev).T', "to_bag(hprev).T"
    first_dWxh, first_dbh = '"Wxh": da[0] @ x[0].T', '"bh": da[0].sum(axis=1, keepdims=True)'
    first_dWhh = f'"Whh": {da}[0] @ hprev[0].T'
    algebra_Whh = "dWhh = sum_t da[t] @ h[t-1].T, where h[-1] is the initial state"
    algebra_bh = "dbh = sum_t da[t].sum(axis=1, keepdims=True), a sum over steps and batch"
    backward = f"{cell}.backward"
    returned = end.removesuffix("grads")

    def every_gradient(code: str) -> tuple[str, str]:
        return end, f"{returned}{{key: {code} for key, g in grads.items()}}"

    factors = [
        mistake(
            backward,
            f"all weight gradients are {verb} by {factor}",
            "dW = sum_t da[t] @ ..., with no factor; a mean over tokens comes in with the loss, as 1/N",
            every_gradient(f"g {sign} {code}"),
        )
        for factor, code in (("T", "len(x)"), ("B", "x.shape[2]"), ("N = T*B", "(len(x) * x.shape[2])"))
        for sign, verb in (("/", "divided"), ("*", "multiplied"))
    ]
    return [
        *factors,
        mistake(
            backward,
            "dWhh takes h[t], the state after the step, where the step used h[t-1]",
            algebra_Whh,
            (before, "to_bag(hs[1:]).T"),
        ),
        mistake(
            backward,
            "at t = 0, dWhh takes the final state for the initial one, as hs[t-1] does in a list",
            algebra_Whh,
            (before, "to_bag(np.concatenate([hs[-1:], hs[1:-1]])).T"),
        ),
        mistake(
            backward,
            "at t = 0, dWhh takes zero for the initial state",
            algebra_Whh,
            (before, "to_bag(np.concatenate([0 * hs[:1], hs[1:-1]])).T"),
        ),
        mistake(
            backward,
            "dWxh takes the input of the step before",
            "dWxh = sum_t da[t] @ x[t].T",
            ("to_bag(x).T", "to_bag(np.roll(x, 1, axis=0)).T"),
        ),
        mistake(
            backward,
            "dWxh is assigned at each step instead of accumulated: only the step t = 0 is left",
            "dWxh += da[t] @ x[t].T at every step",
            (dWxh, first_dWxh),
        ),
        mistake(
            backward,
            "dWhh is assigned at each step instead of accumulated: only the step t = 0 is left",
            "dWhh += da[t] @ h[t-1].T at every step",
            (dWhh, first_dWhh),
        ),
        mistake(
            backward,
            "dbh is assigned at each step instead of accumulated: only the step t = 0 is left",
            "dbh += da[t].sum(axis=1, keepdims=True) at every step",
            (dbh, first_dbh),
        ),
        mistake(
            backward,
            "dWxh, dWhh and dbh are assigned at each step instead of accumulated: only the step t = 0 is left",
            "dWxh += ..., dWhh += ..., dbh += ... at every step, because the same weights act at every step",
            (dWxh, first_dWxh),
            (dWhh, first_dWhh),
            (dbh, first_dbh),
        ),
        mistake(
            backward,
            "dbh is not summed over the batch: it has a column for each sequence",
            algebra_bh,
            (dbh, '"bh": da.sum(axis=0)'),
        ),
        mistake(
            backward,
            "dbh is averaged over the batch",
            algebra_bh,
            (dbh, '"bh": da_bag.sum(axis=1, keepdims=True) / x.shape[2]'),
        ),
        mistake(
            backward,
            "dbh is averaged over steps and batch",
            algebra_bh,
            (dbh, '"bh": da_bag.mean(axis=1, keepdims=True)'),
        ),
        mistake(
            backward,
            "dWxh is transposed",
            "dWxh = sum_t da[t] @ x[t].T, of the shape of Wxh",
            (dWxh, '"Wxh": to_bag(x) @ da_bag.T'),
        ),
        mistake(
            backward,
            "dWhh is transposed",
            "dWhh = sum_t da[t] @ h[t-1].T, of the shape of Whh",
            (dWhh, f'"Whh": to_bag(hprev) @ {da}_bag.T'),
        ),
        mistake(
            backward,
            "all weight gradients have the wrong sign",
            "dW = sum_t da[t] @ ...; the minus stands in the update",
            every_gradient("-g"),
        ),
        *(
            mistake(
                backward,
                f"the weight gradients are clipped to [-{limit}, {limit}] inside the backward pass",
                "backward returns the gradient as it is; clipping comes between backward and the update",
                every_gradient(f"np.clip(g, -{limit}, {limit})"),
            )
            for limit in (1, 5, 10)
        ),
        *(
            mistake(
                backward,
                f"d{name} is divided by B",
                f"d{name} = sum_t da[t] @ ..., with no factor; a mean over tokens comes in with the loss, as 1/N",
                (right, f"{right} / x.shape[2]"),
            )
            for name, right in (("Wxh", dWxh), ("Whh", dWhh))
        ),
        mistake(
            backward,
            "dWhh takes the state before that of the step before: hs[t-1], where hs[t] is h[t-1] already",
            algebra_Whh,
            (before, "to_bag(np.concatenate([hs[-1:], hs[:-2]])).T"),
        ),
        mistake(
            backward,
            "dbh is that of the first sequence only",
            algebra_bh,
            (dbh, '"bh": da.sum(axis=0)[:, :1]'),
        ),
        mistake(
            backward,
            "each step's share of dWxh and dWhh is clipped to [-5, 5] before it is accumulated",
            "accumulate over all steps first, then clip the sum",
            (dWxh, '"Wxh": sum(np.clip(d @ v.T, -5, 5) for d, v in zip(da, x, strict=True))'),
            (dWhh, f'"Whh": sum(np.clip(d @ v.T, -5, 5) for d, v in zip({da}, hprev, strict=True))'),
        ),
    ]


# --- the tanh cell ----------------------------------------------------------------------------------

LOOP = "da[t] = (dh[t] + dhnext) * slope[t]"
NEXT = "dhnext = Whh.T @ da[t]"
RNN = [
    *through_time("rnn", "da", "return dx, (dhnext,), grads"),
    mistake(
        "rnn.backward",
        "the slope of tanh is missing: the gradient passes the nonlinearity unchanged",
        "da[t] = (dh[t] + dhnext) * (1 - h[t]**2)",
        (LOOP, "da[t] = dh[t] + dhnext"),
    ),
    mistake(
        "rnn.backward",
        "the slope of tanh is taken as 1 - h, without the square",
        "da[t] = (dh[t] + dhnext) * (1 - h[t]**2)",
        ("slope = 1 - h**2", "slope = 1 - h"),
    ),
    mistake(
        "rnn.backward",
        "the slope of tanh is taken as 1 - tanh(h)**2, but h is tanh(a) already",
        "da[t] = (dh[t] + dhnext) * (1 - h[t]**2)",
        ("slope = 1 - h**2", "slope = 1 - np.tanh(h) ** 2"),
    ),
    mistake(
        "rnn.backward",
        "the slope of tanh is taken as h (1 - h), which is the sigmoid's",
        "da[t] = (dh[t] + dhnext) * (1 - h[t]**2)",
        ("slope = 1 - h**2", "slope = h * (1 - h)"),
    ),
    mistake(
        "rnn.backward",
        "dhnext is dropped: no gradient comes back from later steps",
        "dh = dh[t] + dhnext, because h[t] is used twice: as an output and by step t+1",
        (LOOP, "da[t] = dh[t] * slope[t]"),
    ),
    mistake(
        "rnn.backward",
        "dhnext is not multiplied through Whh",
        "dhnext = Whh.T @ da[t]",
        (NEXT, "dhnext = da[t]"),
    ),
    mistake(
        "rnn.backward",
        "Whh is not transposed on the way back",
        "dhnext = Whh.T @ da[t]",
        (NEXT, "dhnext = Whh @ da[t]"),
    ),
    mistake(
        "rnn.backward",
        "Wxh is not transposed in dx",
        "dx[t] = Wxh.T @ da[t]",
        ("from_bag(Wxh.T @ da_bag", "from_bag(Wxh @ da_bag"),
    ),
    mistake(
        "rnn.backward",
        "dhnext leaves out the slope of tanh: it is made of dh and not of da",
        "dhnext = Whh.T @ da[t], where da[t] is the gradient before the tanh",
        (NEXT, "dhnext = Whh.T @ (dh[t] + dhnext)"),
    ),
    mistake(
        "rnn.backward",
        "dhnext is accumulated over the steps instead of replaced",
        "dhnext = Whh.T @ da[t]: all that came from later steps is in da[t] already",
        (NEXT, "dhnext = dhnext + Whh.T @ da[t]"),
    ),
    mistake(
        "rnn.backward",
        "dhnext is added after the slope of tanh instead of before",
        "da[t] = (dh[t] + dhnext) * (1 - h[t]**2)",
        (LOOP, "da[t] = dh[t] * slope[t] + dhnext"),
    ),
    mistake(
        "rnn.backward",
        "dhnext is clipped to [-5, 5] at every step",
        "dhnext = Whh.T @ da[t]; clipping comes after backward, on the sum over all steps",
        (NEXT, "dhnext = np.clip(Whh.T @ da[t], -5, 5)"),
    ),
    mistake(
        "rnn.backward",
        "the loop runs forward in time",
        "for t in reversed(range(T)): da[t] needs da[t+1]",
        ("reversed(range(len(h)))", "range(len(h))"),
    ),
    mistake(
        "rnn.backward",
        "only the gradient of the last output is used",
        "dh = dh[t] + dhnext, with the upstream gradient of every step",
        (LOOP, "da[t] = (dh[t] * (t == len(h) - 1) + dhnext) * slope[t]"),
    ),
    mistake(
        "rnn.backward",
        "the gradient of the final state is ignored",
        "dhnext begins as dstate, the gradient that comes from beyond the last step",
        ("check_cell_gradient(dh, dstate, h)", "check_cell_gradient(dh, None, h)"),
    ),
    mistake(
        "rnn.backward",
        "the gradient of the initial state is da[0], one product short",
        "dh0 = Whh.T @ da[0]",
        ("return dx, (dhnext,), grads", "return dx, (da[0],), grads"),
    ),
    mistake(
        "rnn.backward",
        "the upstream gradient dh is changed in place",
        "dh_t = dh[t] + dhnext, a new array: dh belongs to the caller",
        (LOOP, "dh[t] += dhnext; da[t] = dh[t] * slope[t]"),
    ),
    mistake(
        "rnn.forward",
        "tanh is missing",
        "h[t] = tanh(Wxh @ x[t] + Whh @ h[t-1] + bh)",
        ("np.tanh(ax[t] + Whh @ hs[t])", "ax[t] + Whh @ hs[t]"),
    ),
    mistake(
        "rnn.forward",
        "the bias is missing",
        "h[t] = tanh(Wxh @ x[t] + Whh @ h[t-1] + bh)",
        ("Wxh @ to_bag(x) + bh", "Wxh @ to_bag(x)"),
    ),
    mistake(
        "rnn.forward",
        "every step starts from the initial state: the new state is not carried on",
        "h[t] = tanh(Wxh @ x[t] + Whh @ h[t-1] + bh)",
        ("Whh @ hs[t]", "Whh @ hs[0]"),
    ),
    mistake(
        "rnn.forward",
        "the initial state is ignored: the sequence starts from zero",
        "h[-1] is the state that was handed in",
        ("hs[0] = h0", "hs[0] = 0 * h0"),
    ),
    mistake(
        "rnn.forward",
        "Whh is transposed",
        "h[t] = tanh(Wxh @ x[t] + Whh @ h[t-1] + bh)",
        ("Whh @ hs[t]", "Whh.T @ hs[t]"),
    ),
    mistake(
        "rnn.backward",
        "the loop misses the first step, t = 0",
        "for t in reversed(range(T)): T-1 down to 0",
        ("da = np.empty_like(h)", "da = np.zeros_like(h)"),
        ("reversed(range(len(h)))", "reversed(range(1, len(h)))"),
    ),
    mistake(
        "rnn.backward",
        "the slope of tanh is taken at the state before the step",
        "da[t] = (dh[t] + dhnext) * (1 - h[t]**2)",
        ("slope = 1 - h**2", "slope = 1 - hprev**2"),
    ),
    mistake(
        "rnn.backward",
        "the gradient of the initial state is zero",
        "dh0 = Whh.T @ da[0]",
        ("return dx, (dhnext,), grads", "return dx, (0 * dhnext,), grads"),
    ),
    mistake(
        "rnn.forward",
        "a sigmoid stands in the place of tanh",
        "h[t] = tanh(Wxh @ x[t] + Whh @ h[t-1] + bh)",
        ("np.tanh(ax[t] + Whh @ hs[t])", "1 / (1 + np.exp(-(ax[t] + Whh @ hs[t])))"),
    ),
    mistake(
        "rnn.forward",
        "the final state is that before the last step",
        "the state that is returned is h[T-1]",
        ("(hs[T].copy(),)", "(hs[T - 1].copy(),)"),
    ),
    mistake(
        "rnn.forward",
        "the final state is the initial one",
        "the state that is returned is h[T-1]",
        ("(hs[T].copy(),)", "(hs[0].copy(),)"),
    ),
]

# --- the LSTM ---------------------------------------------------------------------------------------

SLOPES = {"i": "* i * (1 - i)", "f": "* f * (1 - f)", "o": "* o * (1 - o)", "g": "* (1 - g**2)"}
DC = "dc = dcnext + dh_t * o * (1 - tanh_c[t] ** 2)"
LSTM = [
    *through_time("lstm", "da", "return dx, (dhnext, dcnext), grads"),
    *(
        mistake(
            "lstm.backward",
            f"the slope of the gate {gate} is missing",
            f"da_{gate} = ... {slope}",
            (f" {slope}\n", "\n"),
        )
        for gate, slope in SLOPES.items()
    ),
    mistake(
        "lstm.backward",
        "all four slopes of the gates are missing",
        "da_i = dc * g * i (1 - i), and so for f and o; da_g = dc * i * (1 - g**2)",
        *((f" {slope}\n", "\n") for slope in SLOPES.values()),
    ),
    mistake(
        "lstm.backward",
        "the path of the cell state is dropped: no dc comes back from later steps",
        "dc = dcnext + dh * o * (1 - tanh(c[t])**2)",
        (DC, "dc = dh_t * o * (1 - tanh_c[t] ** 2)"),
    ),
    mistake(
        "lstm.backward",
        "the slope of tanh(c) is missing",
        "dc = dcnext + dh * o * (1 - tanh(c[t])**2)",
        (DC, "dc = dcnext + dh_t * o"),
    ),
    mistake(
        "lstm.backward",
        "the slope of tanh(c) is taken as 1 - c**2",
        "dc = dcnext + dh * o * (1 - tanh(c[t])**2)",
        (DC, "dc = dcnext + dh_t * o * (1 - cs[t + 1] ** 2)"),
    ),
    mistake(
        "lstm.backward",
        "the output gate is missing on the way from h to c",
        "dc = dcnext + dh * o * (1 - tanh(c[t])**2)",
        (DC, "dc = dcnext + dh_t * (1 - tanh_c[t] ** 2)"),
    ),
    mistake(
        "lstm.backward",
        "the forget gate is that of the step before",
        "dcnext = dc * f[t]: c[t-1] was multiplied by f[t]",
        ("dcnext = dc * f", "dcnext = dc * gates[max(t - 1, 0), H : 2 * H]"),
    ),
    mistake(
        "lstm.backward",
        "the forget gate is that of the step after",
        "dcnext = dc * f[t]: c[t-1] was multiplied by f[t]",
        ("dcnext = dc * f", "dcnext = dc * gates[min(t + 1, T - 1), H : 2 * H]"),
    ),
    mistake(
        "lstm.backward",
        "the forget gate is missing on the way back",
        "dcnext = dc * f[t]",
        ("dcnext = dc * f", "dcnext = dc"),
    ),
    mistake(
        "lstm.backward",
        "the forget gate's gradient takes c[t] where the step used c[t-1]",
        "da_f = dc * c[t-1] * f (1 - f)",
        ("dc * cprev[t]", "dc * cs[t + 1]"),
    ),
    mistake(
        "lstm.backward",
        "at t = 0 the forget gate's gradient takes zero for the initial cell state",
        "da_f = dc * c[t-1] * f (1 - f), where c[-1] is the state that was handed in",
        ("dc * cprev[t]", "dc * cprev[t] * (t > 0)"),
    ),
    mistake(
        "lstm.backward",
        "the output gate's gradient takes c where h was made of tanh(c)",
        "da_o = dh * tanh(c[t]) * o (1 - o)",
        ("dh_t * tanh_c[t]", "dh_t * cs[t + 1]"),
    ),
    mistake(
        "lstm.backward",
        "the order of the gates is swapped in the gradient: i, f, g, o",
        "the rows are those of the forward pass: i, f, o, g",
        ("da_i, da_f, da_o, da_g =", "da_i, da_f, da_g, da_o ="),
    ),
    mistake(
        "lstm.backward",
        "the order of the gates is swapped in the gradient: f, i, o, g",
        "the rows are those of the forward pass: i, f, o, g",
        ("da_i, da_f, da_o, da_g =", "da_f, da_i, da_o, da_g ="),
    ),
    mistake(
        "lstm.backward",
        "dhnext is dropped: no gradient comes back from later steps through h",
        "dh = dh[t] + dhnext, because h[t] is used twice: as an output and by step t+1",
        ("dh_t = dh[t] + dhnext", "dh_t = dh[t]"),
    ),
    mistake(
        "lstm.backward",
        "the gradient of the final cell state is ignored",
        "dcnext begins as the second array of dstate",
        ("hprev, states=2)\n", "hprev, states=2); dcnext = 0 * dcnext\n"),
    ),
    mistake(
        "lstm.backward",
        "the gradient of the final state, h and c, is ignored",
        "dhnext and dcnext begin as the arrays of dstate",
        ("check_cell_gradient(dh, dstate,", "check_cell_gradient(dh, None,"),
    ),
    mistake(
        "lstm.backward",
        "the upstream gradient dh is changed in place",
        "dh_t = dh[t] + dhnext, a new array: dh belongs to the caller",
        ("dh_t = dh[t] + dhnext", "dh[t] += dhnext; dh_t = dh[t]"),
    ),
    mistake(
        "lstm.forward",
        "the order of the gates is taken as i, f, g, o",
        "the rows are i, f, o, g; the first three pass a sigmoid, the last a tanh",
        ("sigmoid(a[: 3 * H], out=a[: 3 * H])", "a[...] = np.concatenate([a[: 2 * H], a[3 * H :], a[2 * H : 3 * H]])"),
        ("np.tanh(a[3 * H :], out=a[3 * H :])", "sigmoid(a[: 3 * H], a[: 3 * H]); np.tanh(a[3 * H :], a[3 * H :])"),
    ),
    mistake(
        "lstm.forward",
        "input and forget gate change places: the order of the gates is taken as f, i, o, g",
        "the rows are i, f, o, g, and c[t] = f * c[t-1] + i * g",
        ("i, f, o, g =", "f, i, o, g ="),
    ),
    mistake(
        "lstm.forward",
        "the candidate g passes a sigmoid",
        "g = tanh(a_g)",
        ("np.tanh(a[3 * H :], out=a[3 * H :])", "sigmoid(a[3 * H :], out=a[3 * H :])"),
    ),
    mistake(
        "lstm.forward",
        "tanh is missing between the cell state and h",
        "h[t] = o * tanh(c[t])",
        ("o * np.tanh(cs[t + 1])", "o * cs[t + 1]"),
    ),
    mistake(
        "lstm.forward",
        "h is made of the old cell state",
        "h[t] = o * tanh(c[t]), with the new c",
        ("o * np.tanh(cs[t + 1])", "o * np.tanh(cs[t])"),
    ),
    mistake(
        "lstm.forward",
        "the input gate is missing",
        "c[t] = f * c[t-1] + i * g",
        ("f * cs[t] + i * g", "f * cs[t] + g"),
    ),
    mistake(
        "lstm.forward",
        "the forget gate is missing",
        "c[t] = f * c[t-1] + i * g",
        ("f * cs[t] + i * g", "cs[t] + i * g"),
    ),
    mistake(
        "lstm.forward",
        "the initial cell state is ignored",
        "c[-1] is the second array of the state that was handed in",
        ("hs[0], cs[0] = h0, c0", "hs[0], cs[0] = h0, 0 * c0"),
    ),
    mistake(
        "lstm.forward",
        "the bias is missing",
        "a[t] = Wxh @ x[t] + Whh @ h[t-1] + bh",
        ("Wxh @ to_bag(x) + bh", "Wxh @ to_bag(x)"),
    ),
    mistake(
        "lstm.backward",
        "input gate and candidate each take themselves where they should take each other",
        "da_i = dc * g * i (1 - i), da_g = dc * i * (1 - g**2)",
        ("dc * g * i", "dc * i * i"),
        ("dc * i * (1 - g**2)", "dc * g * (1 - g**2)"),
    ),
    mistake(
        "lstm.backward",
        "the forget gate is that of the step before, at t = 0 the last one's",
        "dcnext = dc * f[t]: c[t-1] was multiplied by f[t]",
        ("dcnext = dc * f", "dcnext = dc * gates[t - 1, H : 2 * H]"),
    ),
    mistake(
        "lstm.backward",
        "dcnext takes the input gate for the forget gate",
        "dcnext = dc * f",
        ("dcnext = dc * f", "dcnext = dc * i"),
    ),
    mistake(
        "lstm.backward",
        "dcnext is accumulated over the steps instead of replaced",
        "dcnext = dc * f: all that came from later steps is in dc already",
        ("dcnext = dc * f", "dcnext = dc * f + dcnext"),
    ),
    mistake(
        "lstm.backward",
        "the way from h to c leaves out dhnext",
        "dc = dcnext + (dh[t] + dhnext) * o * (1 - tanh(c[t])**2)",
        (DC, "dc = dcnext + dh[t] * o * (1 - tanh_c[t] ** 2)"),
    ),
    mistake(
        "lstm.backward",
        "the output gate leaves out dhnext",
        "da_o = (dh[t] + dhnext) * tanh(c[t]) * o (1 - o)",
        ("dh_t * tanh_c[t]", "dh[t] * tanh_c[t]"),
    ),
    mistake(
        "lstm.backward",
        "the gradient of the final h is ignored",
        "dhnext begins as the first array of dstate",
        ("hprev, states=2)\n", "hprev, states=2); dhnext = 0 * dhnext\n"),
    ),
    mistake(
        "lstm.backward",
        "the gradients of the initial h and c change places",
        "dstate is (dh0, dc0)",
        ("return dx, (dhnext, dcnext), grads", "return dx, (dcnext, dhnext), grads"),
    ),
    mistake(
        "lstm.backward",
        "the sigmoid gates have the slope of tanh, 1 - s**2",
        "da_i = dc * g * i (1 - i), and so for f and o",
        ("* i * (1 - i)\n", "* (1 - i**2)\n"),
        ("* f * (1 - f)\n", "* (1 - f**2)\n"),
        ("* o * (1 - o)\n", "* (1 - o**2)\n"),
    ),
    mistake(
        "lstm.backward",
        "the candidate has the slope of a sigmoid, g (1 - g)",
        "da_g = dc * i * (1 - g**2)",
        ("* (1 - g**2)\n", "* g * (1 - g)\n"),
    ),
    mistake(
        "lstm.forward",
        "the final h and c change places",
        "the state that is returned is (h[T-1], c[T-1])",
        ("(hs[T].copy(), cs[T].copy())", "(cs[T].copy(), hs[T].copy())"),
    ),
]

# --- the GRU ----------------------------------------------------------------------------------------

CANDIDATE = "da_n[t] = dh_t * (1 - z) * (1 - n**2)"
STATE = "dhnext = dh_t * z + Whh.T @ du[t]"
GRU = [
    *through_time("gru", "du", "return dx, (dhnext,), grads"),
    mistake(
        "gru.backward",
        "the polarity of z is reversed: h = z n + (1 - z) h[t-1] is differentiated",
        "h[t] = (1 - z) * n + z * h[t-1], so da_n takes (1 - z), da_z takes h[t-1] - n, and dh * z goes on",
        (CANDIDATE, "da_n[t] = dh_t * z * (1 - n**2)"),
        ("(hprev[t] - n)", "(n - hprev[t])"),
        (STATE, "dhnext = dh_t * (1 - z) + Whh.T @ du[t]"),
    ),
    mistake(
        "gru.backward",
        "the update gate's gradient has the wrong sign",
        "da_z = dh * (h[t-1] - n) * z (1 - z)",
        ("(hprev[t] - n)", "(n - hprev[t])"),
    ),
    mistake(
        "gru.backward",
        "the candidate's gradient takes z instead of 1 - z",
        "da_n = dh * (1 - z) * (1 - n**2)",
        (CANDIDATE, "da_n[t] = dh_t * z * (1 - n**2)"),
    ),
    mistake(
        "gru.backward",
        "the path z * h[t-1] takes 1 - z on the way back",
        "dhnext = dh * z + Whh.T @ (da_r, da_z, du)",
        (STATE, "dhnext = dh_t * (1 - z) + Whh.T @ du[t]"),
    ),
    mistake(
        "gru.backward",
        "the path z * h[t-1] is dropped on the way back",
        "dhnext = dh * z + Whh.T @ (da_r, da_z, du)",
        (STATE, "dhnext = Whh.T @ du[t]"),
    ),
    mistake(
        "gru.backward",
        "the path through Whh is dropped on the way back",
        "dhnext = dh * z + Whh.T @ (da_r, da_z, du)",
        (STATE, "dhnext = dh_t * z"),
    ),
    mistake(
        "gru.backward",
        "dhnext is dropped: no gradient comes back from later steps",
        "dh = dh[t] + dhnext, because h[t] is used twice: as an output and by step t+1",
        ("dh_t = dh[t] + dhnext", "dh_t = dh[t]"),
    ),
    mistake(
        "gru.backward",
        "the reset gate is applied twice in du",
        "du = da_n * r",
        ("du_n[...] = da_n[t] * r", "du_n[...] = da_n[t] * r * r"),
    ),
    mistake(
        "gru.backward",
        "the reset gate is missing in du",
        "du = da_n * r",
        ("du_n[...] = da_n[t] * r", "du_n[...] = da_n[t]"),
    ),
    mistake(
        "gru.backward",
        "the reset gate's gradient takes h[t-1] instead of u = Whn h[t-1] + bhn",
        "da_r = da_n * u * r (1 - r): the gate multiplied u",
        ("da_n[t] * us[t]", "da_n[t] * hprev[t]"),
    ),
    mistake(
        "gru.backward",
        "the reset gate's gradient leaves bhn out of u",
        "da_r = da_n * (Whn h[t-1] + bhn) * r (1 - r)",
        ("da_n[t] * us[t]", 'da_n[t] * (us[t] - params["bhn"])'),
    ),
    mistake(
        "gru.backward",
        "the slope of the candidate's tanh is missing",
        "da_n = dh * (1 - z) * (1 - n**2)",
        (CANDIDATE, "da_n[t] = dh_t * (1 - z)"),
    ),
    mistake(
        "gru.backward",
        "the slope of the update gate is missing",
        "da_z = dh * (h[t-1] - n) * z (1 - z)",
        (" * z * (1 - z)\n", "\n"),
    ),
    mistake(
        "gru.backward",
        "the slope of the reset gate is missing",
        "da_r = da_n * u * r (1 - r)",
        (" * r * (1 - r)\n", "\n"),
    ),
    mistake(
        "gru.backward",
        "dbhn takes da_n, without the reset gate",
        "dbhn = sum_t du[t], where du = da_n * r",
        ("du_bag[2 * H :].sum", "da_bag[2 * H :].sum"),
    ),
    mistake(
        "gru.backward",
        "dWhh takes da_n, without the reset gate, in its rows n",
        "dWhn = sum_t du[t] @ h[t-1].T, where du = da_n * r",
        ('"Whh": du_bag', '"Whh": da_bag'),
    ),
    mistake(
        "gru.backward",
        "dWxh takes du, with the reset gate, in its rows n",
        "dWxn = sum_t da_n[t] @ x[t].T",
        ('"Wxh": da_bag', '"Wxh": du_bag'),
    ),
    mistake(
        "gru.backward",
        "the order of the gates is swapped in the gradient: z, r, n",
        "the rows are those of the forward pass: r, z, n",
        ("da_r, da_z, du_n =", "da_z, da_r, du_n ="),
    ),
    mistake(
        "gru.backward",
        "the gradient of the final state is ignored",
        "dhnext begins as dstate, the gradient that comes from beyond the last step",
        ("check_cell_gradient(dh, dstate,", "check_cell_gradient(dh, None,"),
    ),
    mistake(
        "gru.backward",
        "the upstream gradient dh is changed in place",
        "dh_t = dh[t] + dhnext, a new array: dh belongs to the caller",
        ("dh_t = dh[t] + dhnext", "dh[t] += dhnext; dh_t = dh[t]"),
    ),
    mistake(
        "gru.forward",
        "the polarity of z is reversed: h = z n + (1 - z) h[t-1]",
        "h[t] = (1 - z) * n + z * h[t-1]",
        ("n + z * (hs[t] - n)", "hs[t] + z * (n - hs[t])"),
    ),
    mistake(
        "gru.forward",
        "the reset gate acts before the product: Whn (r * h[t-1])",
        "n = tanh(Wxn x[t] + bn + r * (Whn h[t-1] + bhn))",
        ("n += r * us[t]", "n += Whh[2 * H :] @ (r * hs[t]) + bhn"),
    ),
    mistake(
        "gru.forward",
        "the reset gate is missing",
        "n = tanh(Wxn x[t] + bn + r * (Whn h[t-1] + bhn))",
        ("n += r * us[t]", "n += us[t]"),
    ),
    mistake(
        "gru.forward",
        "the reset gate is applied twice",
        "n = tanh(Wxn x[t] + bn + r * (Whn h[t-1] + bhn))",
        ("n += r * us[t]", "n += r * r * us[t]"),
    ),
    mistake(
        "gru.forward",
        "the bias bhn stands outside the reset gate",
        "n = tanh(Wxn x[t] + bn + r * (Whn h[t-1] + bhn))",
        ("n += r * us[t]", "n += r * (us[t] - bhn) + bhn"),
    ),
    mistake(
        "gru.forward",
        "the bias bhn is missing",
        "n = tanh(Wxn x[t] + bn + r * (Whn h[t-1] + bhn))",
        ("n += r * us[t]", "n += r * (us[t] - bhn)"),
    ),
    mistake(
        "gru.forward",
        "the order of the gates is taken as z, r, n",
        "the rows are r, z, n",
        ("r, z, n =", "z, r, n ="),
    ),
    mistake(
        "gru.forward",
        "the candidate passes a sigmoid",
        "n = tanh(...)",
        ("np.tanh(n, out=n)", "sigmoid(n, out=n)"),
    ),
    mistake(
        "gru.forward",
        "the bias bh is missing",
        "r, z and n each take Wxh @ x[t] + bh",
        ("Wxh @ to_bag(x) + bh", "Wxh @ to_bag(x)"),
    ),
    mistake(
        "gru.backward",
        "dx takes du, with the reset gate, in its rows n",
        "dx[t] = Wxh.T @ (da_r, da_z, da_n)",
        ("from_bag(Wxh.T @ da_bag", "from_bag(Wxh.T @ du_bag"),
    ),
    mistake(
        "gru.backward",
        "dbh takes du, with the reset gate, in its rows n",
        "dbn = sum_t da_n[t]",
        ('"bh": da_bag', '"bh": du_bag'),
    ),
    mistake(
        "gru.backward",
        "the way back through Whh takes da_n, without the reset gate",
        "dhnext = dh * z + Whh.T @ (da_r, da_z, du)",
        (STATE, "dhnext = dh_t * z + Whh.T @ np.concatenate([du[t, : 2 * H], da_n[t]])"),
    ),
    mistake(
        "gru.backward",
        "the path z * h[t-1] leaves out dhnext",
        "dhnext = (dh[t] + dhnext) * z + Whh.T @ (da_r, da_z, du)",
        (STATE, "dhnext = dh[t] * z + Whh.T @ du[t]"),
    ),
    mistake(
        "gru.backward",
        "the update gate's gradient leaves out the candidate",
        "da_z = dh * (h[t-1] - n) * z (1 - z)",
        ("(hprev[t] - n)", "hprev[t]"),
    ),
    mistake(
        "gru.backward",
        "reset and update gate change places where they are unpacked",
        "the rows are those of the forward pass: r, z, n",
        ("r, z, n = gates[t]", "z, r, n = gates[t]"),
    ),
    mistake(
        "gru.backward",
        "du leaves out the slope of the candidate's tanh",
        "du = da_n * r, where da_n = dh * (1 - z) * (1 - n**2)",
        ("du_n[...] = da_n[t] * r", "du_n[...] = dh_t * (1 - z) * r"),
    ),
]

# --- around the recurrence --------------------------------------------------------------------------

SUBTRACT = "dlogits[targets, np.arange(len(targets))] -= weights"
PROBABILITIES = "unnormalized * (weights / Z)"
LOSS = "(weights * (np.log(Z) - correct)).sum()"
AROUND = [
    mistake(
        "ops.cross_entropy_backward",
        "the target is not subtracted",
        "dlogits = (p - onehot(target)) / N",
        (SUBTRACT, "pass"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the softmax is left out of the chain: this is the gradient of the probabilities, not of the logits",
        "dlogits = (p - onehot(target)) / N",
        (PROBABILITIES, "0 * unnormalized"),
        (
            SUBTRACT,
            "dlogits[targets, np.arange(len(targets))] -= weights / (unnormalized / Z)[targets, np.arange(len(Z))]",
        ),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the gradient is that of the sum over tokens, not of the mean: 1/N is missing",
        "dlogits = (p - onehot(target)) / N",
        (PROBABILITIES, "unnormalized / Z"),
        (SUBTRACT, "dlogits[targets, np.arange(len(targets))] -= 1"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "1/N is applied to the probabilities, and then a whole 1 is subtracted at the target",
        "dlogits = (p - onehot(target)) / N",
        (SUBTRACT, "dlogits[targets, np.arange(len(targets))] -= 1"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the sign is wrong: target minus probability",
        "dlogits = (p - onehot(target)) / N",
        ("return dlogits", "return -dlogits"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the exponentials are not normalized",
        "dlogits = (p - onehot(target)) / N, where p = exp(logits) / Z",
        (PROBABILITIES, "unnormalized * weights"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "padded tokens leak: one whose weight is zero has a gradient",
        "dlogits[:, n] is multiplied by the weight of token n, zero for padding",
        (PROBABILITIES, "unnormalized * (np.where(weights == 0, weights.max(), weights) / Z)"),
        (SUBTRACT, "dlogits[targets, np.arange(len(Z))] -= np.where(weights == 0, weights.max(), weights)"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the gradient is divided by N once more",
        "dlogits = (p - onehot(target)) / N, once",
        ("return dlogits", "return dlogits / len(targets)"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the gradient is divided by V, the size of the vocabulary",
        "dlogits = (p - onehot(target)) / N",
        ("return dlogits", "return dlogits / len(dlogits)"),
    ),
    mistake(
        "ops.cross_entropy_forward",
        "the loss has the wrong sign",
        "loss = -mean log p[target]",
        (LOSS, "-" + LOSS),
    ),
    mistake(
        "ops.cross_entropy_forward",
        "the loss is a sum over tokens, not the mean",
        "loss = -mean log p[target]",
        (LOSS, "(np.log(Z) - correct).sum()"),
    ),
    mistake(
        "ops.cross_entropy_forward",
        "the loss is in bits, not in nats",
        "loss = -mean log p[target], with the natural logarithm",
        (LOSS, LOSS.replace("(np.log(Z) - correct)", "(np.log(Z) - correct) / np.log(2)")),
    ),
    mistake(
        "ops.cross_entropy_forward",
        "the loss is the mean probability of the target, without a logarithm",
        "loss = -mean log p[target]",
        (LOSS, "-(weights * np.exp(correct) / Z).sum()"),
    ),
    mistake(
        "ops.linear_backward",
        "db is averaged over the bag",
        "db = dy.sum(axis=1, keepdims=True)",
        ("dy @ ones", "dy @ ones / dy.shape[1]"),
    ),
    mistake(
        "ops.linear_backward",
        "db is not summed over the bag",
        "db = dy.sum(axis=1, keepdims=True)",
        ("dy @ ones", "dy"),
    ),
    mistake(
        "ops.linear_backward",
        "W is not transposed in dx",
        "dx = W.T @ dy",
        ("W.T @ dy", "W @ dy"),
    ),
    mistake(
        "ops.linear_backward",
        "dW is transposed",
        "dW = dy @ x.T",
        ("dy @ x.T", "x @ dy.T"),
    ),
    mistake(
        "ops.embedding_backward",
        "rows are assigned instead of accumulated: of a repeated token only the last place counts",
        "dtable[id] += dx at every place where the token stood (np.add.at)",
        ("return dtable", "dtable[ids] = dx.transpose(0, 2, 1); return dtable"),
    ),
    mistake(
        "optim.clip_value",
        "only large positive entries are clipped",
        "g = clip(g, -limit, limit)",
        ("np.clip(g, -limit, limit, out=g)", "np.minimum(g, limit, out=g)"),
    ),
    mistake(
        "optim.clip_norm",
        "each array is scaled by its own norm, not all by the global norm",
        "norm = sqrt(sum of g**2 over all arrays); every g *= limit / norm",
        ("g *= limit / norm", "g *= min(1, limit / np.linalg.norm(g))"),
    ),
    mistake(
        "optim.clip_norm",
        "gradients below the limit are scaled up",
        "scale only if norm > limit",
        ("limit < norm < np.inf", "0 < norm < np.inf"),
    ),
    mistake(
        "optim.clip_norm",
        "the root is missing: the squared norm is used",
        "norm = sqrt(sum of g**2 over all arrays)",
        ("norm = global_norm(grads)", "norm = global_norm(grads) ** 2"),
    ),
    mistake(
        "optim.clip_norm",
        "the gradients are divided by the norm and not multiplied by the limit",
        "g *= limit / norm",
        ("g *= limit / norm", "g /= norm"),
    ),
    mistake(
        "optim.Adagrad.step",
        "the memory is assigned instead of accumulated",
        "memory += g**2",
        ("memory += g * g", "memory[...] = g * g"),
    ),
    mistake(
        "optim.Adagrad.step",
        "the memory adds g, not its square",
        "memory += g**2",
        ("memory += g * g", "memory += g"),
    ),
    mistake(
        "optim.Adagrad.step",
        "the root is missing",
        "p -= rate * g / sqrt(memory + 1e-8)",
        ("np.sqrt(memory + 1e-8)", "(memory + 1e-8)"),
    ),
    mistake(
        "optim.Adagrad.step",
        "1e-8 stands outside the root",
        "p -= rate * g / sqrt(memory + 1e-8)",
        ("np.sqrt(memory + 1e-8)", "(np.sqrt(memory) + 1e-8)"),
    ),
    mistake(
        "optim.Adagrad.step",
        "1e-8 is missing",
        "p -= rate * g / sqrt(memory + 1e-8)",
        ("np.sqrt(memory + 1e-8)", "np.sqrt(memory)"),
    ),
    mistake(
        "optim.Adagrad.step",
        "the step uses the memory of before this gradient",
        "memory += g**2 comes first, then p -= rate * g / sqrt(memory + 1e-8)",
        ("np.sqrt(memory + 1e-8)", "np.sqrt(memory - g * g + 1e-8)"),
    ),
    mistake(
        "optim.Adagrad.step",
        "the step goes uphill",
        "p -= rate * g / sqrt(memory + 1e-8)",
        ("p -= self", "p += self"),
    ),
    mistake(
        "optim.Adagrad.step",
        "the learning rate is missing",
        "p -= rate * g / sqrt(memory + 1e-8)",
        ("self.learning_rate * g", "g"),
    ),
    mistake(
        "model.stack_backward",
        "the dropout mask of a layer is not applied on the way back",
        "dh = dh * mask: what was dropped has no gradient",
        ("dh = ops.dropout_backward(dh, layer_mask)", "pass"),
    ),
    mistake(
        "model.LanguageModel.loss_and_grads",
        "tied weights are assigned: the output layer's gradient replaces the embedding's",
        "dtable = its gradient as embedding + its gradient as output layer",
        ('grads["embedding"] += dWhy', 'grads["embedding"] = dWhy'),
    ),
    mistake(
        "model.LanguageModel.loss_and_grads",
        "tied weights are left out: the output layer's gradient is lost",
        "dtable = its gradient as embedding + its gradient as output layer",
        ('grads["embedding"] += dWhy', "pass"),
    ),
    mistake(
        "model.LanguageModel._loss",
        "padded steps leak: they count in the loss and in its gradient",
        "the weight of a token is 0 where t >= lengths[b]",
        ("real = np.arange(T)[:, None] < lengths", "real = np.arange(T)[:, None] < T + 0 * lengths"),
    ),
    mistake(
        "model.LanguageModel._loss",
        "the mean counts padded tokens",
        "weights = 1 / (number of real tokens)",
        ("real.sum() if", "real.size if"),
    ),
    mistake(
        "model.LanguageModel._loss",
        "the loss is summed over time where its mean was asked for",
        "mean: weights = 1 / (number of real tokens)",
        ('(real.sum() if reduction == "mean" else B)', "B"),
    ),
    mistake(
        "model.LanguageModel._loss",
        "the state returned is that after the padding, not at each sequence's own length",
        "state = h[lengths - 1, :, arange(B)]",
        ("cell.state_at(cell_cache, lengths)", "cell.state_at(cell_cache, np.full(B, T))"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "the probabilities are normalized over the tokens, not over the vocabulary",
        "p = exp(logits) / Z, where Z is the sum over the vocabulary, axis 0",
        (PROBABILITIES, "unnormalized / unnormalized.sum(axis=1, keepdims=True) * weights"),
    ),
    mistake(
        "ops.cross_entropy_backward",
        "1/N is applied at the target only, not to the probabilities",
        "dlogits = (p - onehot(target)) / N",
        (PROBABILITIES, "unnormalized / Z"),
    ),
    mistake(
        "ops.cross_entropy_forward",
        "the loss is divided by V, the size of the vocabulary",
        "loss = -mean log p[target], a mean over tokens",
        (LOSS, f"{LOSS} / len(logits)"),
    ),
    mistake(
        "optim.clip_value",
        "only large negative entries are clipped",
        "g = clip(g, -limit, limit)",
        ("np.clip(g, -limit, limit, out=g)", "np.maximum(g, -limit, out=g)"),
    ),
    mistake(
        "optim.clip_norm",
        "the norm after clipping is returned",
        "return the norm before clipping",
        ("return norm", "return min(norm, limit)"),
    ),
    mistake(
        "optim.clip_norm",
        "the norms of the arrays are added",
        "norm = sqrt(sum of g**2 over all arrays)",
        ("norm = global_norm(grads)", "norm = sum(np.linalg.norm(g) for g in grads.values())"),
    ),
    mistake(
        "optim.clip_norm",
        "1e-6 is added to the norm",
        "g *= limit / norm",
        ("g *= limit / norm", "g *= limit / (norm + 1e-6)"),
    ),
]

MISTAKES = [*RNN, *LSTM, *GRU, *AROUND]
