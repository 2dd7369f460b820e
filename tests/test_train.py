"""The training loop: carried state, reproducible runs, what it says when things go wrong."""

import signal

import numpy as np
import pytest
from conftest import TEXT

import minirnn
from minirnn import SGD, Adagrad, LanguageModel, ModelConfig, Trainer, Vocabulary, catch_interrupt, evaluate

VOCAB = Vocabulary.from_chars(TEXT)
IDS = VOCAB.encode(TEXT)
GOLDEN_LOSSES = [3.1915936971646235, 2.5210253617705676, 0.8600373048759117, 0.2762793439885064]


def make_trainer(dropout=0.0, optimizer=Adagrad, rate=0.1, **options):
    model = LanguageModel.init(ModelConfig("rnn", len(VOCAB), 16, dropout=dropout), 0)
    return Trainer(model, optimizer(rate), IDS, **{"batch_size": 4, "seq_length": 10} | options)


def test_the_loss_falls_along_the_curve_it_always_fell_along():
    """Golden values: a change of the mathematics, the seeds or the batching shows here at once."""
    trainer = make_trainer(clip_norm=5.0)
    trainer.model = trainer.model.astype(np.float64)
    losses = [report.loss for report in trainer.steps(200)]
    np.testing.assert_allclose([losses[i] for i in (0, 9, 49, 199)], GOLDEN_LOSSES, rtol=1e-6)


def test_one_step_is_what_the_parts_say():
    trainer, model = (
        make_trainer(clip_norm=0.1, clip_value=0.01),
        LanguageModel.init(ModelConfig("rnn", len(VOCAB), 16), 0),
    )
    x, y = next(minirnn.stream_batches(IDS, 4, 10))
    loss, grads, state = model.loss_and_grads(x, y, model.zero_state(4))
    norm = minirnn.clip_norm(grads, 0.1)
    minirnn.clip_value(grads, 0.01)
    Adagrad(0.1).step(model.params, grads)
    (report,) = trainer.steps(1)
    assert (report.step, report.loss, report.gradient_norm) == (1, loss, norm)
    assert all((trainer.model.params[name] == p).all() for name, p in model.params.items())
    assert (trainer.state[0][0] == state[0][0]).all()


def test_the_same_seed_gives_the_same_bytes():
    runs = []
    for seed in (5, 5, 6):  # of the dropout masks; the model's own is always the same
        trainer = make_trainer(dropout=0.3, rng=seed)
        losses = [report.loss for report in trainer.steps(60)]
        runs.append((losses, [p.tobytes() for p in trainer.model.params.values()]))
    assert runs[0] == runs[1]
    assert all(mine != other for mine, other in zip(runs[0], runs[2], strict=True))


def test_every_step_draws_dropout_masks_of_its_own():
    trainer = make_trainer(dropout=0.5, rng=3)
    model, rng, optimizer = LanguageModel.init(trainer.model.config, 0), np.random.default_rng(3), Adagrad(0.1)
    state, expected = model.zero_state(4), []
    for x, y in list(minirnn.stream_batches(IDS, 4, 10))[:3]:
        loss, grads, state = model.loss_and_grads(x, y, state, rng=rng)
        optimizer.step(model.params, grads)
        expected.append(loss)
    assert [report.loss for report in trainer.steps(3)] == expected


def test_the_sum_is_minimized_where_it_is_asked_for():
    (mean,), (total,) = make_trainer().steps(1), make_trainer(reduction="sum").steps(1)
    assert total.loss == pytest.approx(mean.loss)  # nats per token, whatever is minimized
    assert total.gradient_norm == pytest.approx(10 * mean.gradient_norm)


def test_steps_may_be_taken_in_pieces():
    whole, pieces = make_trainer(), make_trainer()
    expected = [report.loss for report in whole.steps(70)]
    assert [report.loss for n in (1, 30, 39) for report in pieces.steps(n)] == expected


def test_state_is_carried_within_an_epoch_and_reset_where_the_text_starts_over(monkeypatch):
    trainer = make_trainer()
    seen = []
    original = trainer.model.loss_and_grads

    def spy(x, y, state, **rest):
        result = original(x, y, state, **rest)
        seen.append((x.copy(), state[0][0].copy(), result[2][0][0].copy()))
        return result

    monkeypatch.setattr(trainer.model, "loss_and_grads", spy)
    n = trainer.batches_per_epoch
    list(trainer.steps(2 * n + 1))
    for i, (_, state_in, _) in enumerate(seen):
        if i % n == 0:
            assert not state_in.any()
        else:
            assert state_in.any() and (state_in == seen[i - 1][2]).all()
    assert (seen[n][0] == seen[0][0]).all()


def test_the_schedule_scales_the_rate_the_optimizer_came_with():
    trainer = make_trainer(rate=0.1, schedule=lambda step: 1 / (1 + step))
    rates = [trainer.optimizer.learning_rate for _ in trainer.steps(4)]
    assert rates == pytest.approx([0.1, 0.1 / 2, 0.1 / 3, 0.1 / 4])


def test_smooth_loss_starts_at_guessing_and_follows():
    trainer = make_trainer(reduction="sum", smoothing=0.9)
    expected = np.log(len(VOCAB))
    assert trainer.smooth_loss == pytest.approx(expected)
    for report in trainer.steps(20):
        expected = 0.9 * expected + 0.1 * report.loss
        assert report.smooth_loss == pytest.approx(expected)


def test_the_smoothed_loss_remembers_a_hundred_steps():
    assert make_trainer().smoothing == 0.99


def test_speed_and_time_left_are_averages_since_the_start(monkeypatch):
    seconds = iter([0.0, 2.0, 4.0, 8.0])
    monkeypatch.setattr("minirnn.train.time.perf_counter", lambda: next(seconds))
    reports = list(make_trainer().steps(3))  # 4 sequences x 10 tokens each
    assert [report.tokens_per_second for report in reports] == [40 / 2, 80 / 4, 120 / 8]
    assert [report.seconds_left for report in reports] == [4.0, 2.0, 0.0]


def test_a_report_counts_steps_epochs_and_time():
    reports = list(make_trainer().steps(3))
    n = make_trainer().batches_per_epoch
    assert [report.step for report in reports] == [1, 2, 3]
    assert reports[-1].epoch == 3 / n
    assert reports[-1].tokens_per_second > 0 and reports[0].seconds_left > 0 == reports[-1].seconds_left


def test_divergence_stops_before_the_parameters_are_updated():
    trainer = make_trainer()
    list(trainer.steps(3))
    trainer.model.params["Why"][...] *= 1e38  # finite, but the logits will not be
    before = {name: p.copy() for name, p in trainer.model.params.items()}
    with pytest.raises(
        FloatingPointError, match=r"diverged at step 4: loss .*, gradient norm inf; .* try a smaller learning rate"
    ):
        next(trainer.steps(1))
    assert trainer.step == 3
    assert all((trainer.model.params[name] == p).all() for name, p in before.items())


def test_a_loss_that_is_no_number_stops_even_with_finite_gradients(monkeypatch):
    trainer = make_trainer()
    original = trainer.model.loss_and_grads
    monkeypatch.setattr(trainer.model, "loss_and_grads", lambda *a, **k: (np.float32(np.nan), *original(*a, **k)[1:]))
    with pytest.raises(FloatingPointError, match=r"diverged at step 1: loss nan, gradient norm \d"):
        next(trainer.steps(1))


def test_a_rate_that_is_far_too_large_diverges_with_a_sentence():
    trainer = make_trainer(optimizer=SGD, rate=1e38)
    with pytest.raises(FloatingPointError, match=r"diverged at step \d+"):
        list(trainer.steps(50))


@pytest.mark.parametrize("optimizer", [SGD, Adagrad])
def test_an_update_that_spoils_the_parameters_is_noticed_at_once(optimizer):
    """The loss was finite, so the step counts; what it made of the parameters is never handed out as trained."""
    trainer = make_trainer(optimizer=optimizer, rate=1e38)
    with pytest.raises(
        FloatingPointError,
        match=r"at step 1: norm of the parameters inf; its update has spoilt .* saved model and try a",
    ):
        next(trainer.steps(1))
    assert trainer.step == 1 and np.isfinite(trainer.smooth_loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\), got 1.0"),
        ({"smoothing": -0.1}, r"smoothing must be in \[0, 1\), got -0.1"),
        ({"reduction": "max"}, 'reduction must be "mean" or "sum", got \'max\''),
        ({"schedule": 0.5}, "schedule must be a function of the steps done, got 0.5; see minirnn.schedules"),
        ({"clip_norm": 0}, "clip_norm must be greater than 0, got 0"),
    ],
)
def test_bad_settings_are_refused_before_training(options, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(**options)


def test_bad_ids_are_refused_before_training():
    model = LanguageModel.init(ModelConfig("rnn", 5, 4), 0)
    with pytest.raises(ValueError, match=r"ids must be in 0\.\.4, got"):
        Trainer(model, SGD(0.1), IDS, batch_size=4, seq_length=10)
    with pytest.raises(ValueError, match="too few"):
        Trainer(model, SGD(0.1), IDS[:3] % 5, batch_size=4, seq_length=10)


@pytest.mark.parametrize("length", [2, 3, 39, 41, 42, 83, 200])
def test_evaluation_weighs_every_token_once(length):
    """Without recurrence the order of batches cannot matter, so the mean over all tokens is known."""
    model = LanguageModel.init(ModelConfig("rnn", len(VOCAB), 8), 0).astype(np.float64)
    model.params["rnn0.Whh"][...] = 0
    ids = IDS[:length]
    expected, _ = model.loss(ids[:-1, None], ids[1:, None], model.zero_state(1))
    predicted, _ = model.predict(ids[:-1, None], model.zero_state(1))
    loss, accuracy = evaluate(model, ids, batch_size=4, seq_length=10)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert accuracy == (predicted[:, 0] == ids[1:]).mean()


def test_evaluation_needs_a_token_to_predict():
    with pytest.raises(ValueError, match="at least 2 tokens, one to read and one to predict, got 1"):
        evaluate(make_trainer().model, IDS[:1])
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size must be an int of at least 1, got {size}"):
            evaluate(make_trainer().model, IDS, batch_size=size)
        with pytest.raises(ValueError, match=f"seq_length must be an int of at least 1, got {size}"):
            evaluate(make_trainer().model, IDS, seq_length=size)


def test_evaluation_and_sampling_leave_training_alone():
    quiet, watched = make_trainer(dropout=0.3), make_trainer(dropout=0.3)
    expected = [report.loss for report in quiet.steps(20)]
    losses = []
    for report in watched.steps(20):
        losses.append(report.loss)
        evaluate(watched.model, IDS)
        list(minirnn.sample(watched.model, VOCAB, 0, length=5))
    assert losses == expected


def test_one_interrupt_asks_and_a_second_insists():
    # A process started in the background ignores SIGINT; this test needs Python's own handler.
    original = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with catch_interrupt() as asked:
            assert not asked.is_set()
            signal.raise_signal(signal.SIGINT)
            assert asked.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, original)
