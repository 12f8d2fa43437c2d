"""NumPy or PyTorch on the processor, driven by lines of JSON: see python.mjs."""
import json
import sys
import time

library, folder, threads = sys.argv[1:]


def say(**message):
    print(json.dumps(message), flush=True)


try:
    import numpy as np

    if library == "torch":
        import torch

        torch.set_num_threads(int(threads))
except ImportError as error:
    say(error=f"Python has {error}".replace("No module", "no module"))
    sys.exit(0)

LR, BETAS, EPS, SCALING = 1e-3, (0.9, 0.999), 1e-4, 2.0


def adds(x, y, count):
    for _ in range(count):
        x = x + y
    return x


def numpy_kinds(count, options):
    a_t, b_t = (options.get(name) for name in ("transposeA", "transposeB"))

    def matmul(a, b):
        return (a.swapaxes(-1, -2) if a_t else a) @ (b.swapaxes(-1, -2) if b_t else b)

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def layer_norm(x):
        c = x - x.mean(-1, keepdims=True)
        return c / np.sqrt((c * c).mean(-1, keepdims=True) + np.float32(1e-5))

    def svd(a):
        u, s, vh = np.linalg.svd(a)
        return u, s, vh.T

    return {
        "matmul": matmul,
        "sumRows": lambda x: x.sum(0),
        "sumAll": lambda x: x.sum(),
        "transpose": lambda x: np.ascontiguousarray(x.T),
        "chain": lambda x, y: np.maximum(x * y + np.float32(0.5), 0) * x,
        "softmax": softmax,
        "layerNorm": layer_norm,
        "tiny": lambda x, y: adds(x, y, count),
        "sort": lambda x: np.sort(x, -1),
        "topk": lambda x: -np.sort(np.partition(-x, count - 1, -1)[:, :count], -1),
        "einsum": lambda a, b, c: np.einsum(options["formula"], a, b, c, optimize=True),
        "svd": svd,
    }


def torch_kinds(count, options):
    a_t, b_t = (options.get(name) for name in ("transposeA", "transposeB"))
    f = torch.nn.functional
    mse = f.mse_loss

    def matmul(a, b):
        return (a.mT if a_t else a) @ (b.mT if b_t else b)

    def lora(p, W0, x, target):
        A, B = p
        return mse(f.linear(x, W0) + SCALING * f.linear(f.linear(x, A), B), target)

    def mlp(p, x, target):
        W1, b1, W2, b2 = p
        return mse(f.linear(f.gelu(f.linear(x, W1, b1)), W2, b2), target)

    def gpt(p, tokens, targets):
        p = dict(zip(options["names"], p))
        heads, context = options["heads"], options["context"]

        def dense(x, name):
            return f.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))

        def norm(x, name):
            return f.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])

        def split(x):
            return x.unflatten(-1, (heads, -1)).transpose(1, 2)

        future = torch.ones(context, context, dtype=torch.bool).triu(1)
        x = f.embedding(tokens, p["embedding.weight"]) + p["positions.weight"]
        for i in range(options["layers"]):
            before = norm(x, f"block{i}.norm1")
            q, k, v = (split(dense(before, f"block{i}.{name}")) for name in "qkv")
            scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(future, -torch.inf)
            attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + dense(attended, f"block{i}.out")
            hidden = dense(norm(x, f"block{i}.norm2"), f"block{i}.mlp.fc1")
            x = x + dense(f.gelu(hidden), f"block{i}.mlp.fc2")
        logits = dense(norm(x, "norm"), "output")
        return f.cross_entropy(logits.flatten(0, 1), targets.flatten().long())

    def training(loss, rest):
        """`rest` inputs at the end are not trained."""

        def prepare(*inputs):
            params = [x.clone().requires_grad_() for x in inputs[:-rest]]
            adam = torch.optim.Adam(params, lr=LR, betas=BETAS, eps=EPS)

            def step():
                adam.zero_grad()
                loss(params, *inputs[-rest:]).backward()
                adam.step()
                return [p.detach() for p in params]

            return step

        return prepare

    def gradients(loss, *inputs):
        """By the inputs that come first in the loss."""
        given = [x.detach().requires_grad_() for x in inputs]
        return torch.autograd.grad(loss(*given), given)

    def conv(x, w):
        return f.conv2d(x, w, None, options["stride"], options["padding"])

    def svd(a):
        u, s, vh = torch.linalg.svd(a)
        return u, s, vh.mT

    def per_sample(W1, b1, W2, b2, x, target):
        # Without functorch: by the slopes of what the layers give, as Opacus does it.
        h = torch.tanh(f.linear(x, W1, b1))
        g = 2 * (f.linear(h, W2, b2) - target) / target.shape[-1]
        gh = (g @ W2) * (1 - h * h)
        return gh[:, :, None] * x[:, None], gh, g[:, :, None] * h[:, None], g

    def gru(Wx, Wh, bx, bh, x):
        h = torch.zeros(1, x.shape[1], Wh.shape[1])

        def loss(*weights):
            return torch.gru(x, h, weights, True, 1, 0.0, True, False, False)[0].square().mean()

        return gradients(loss, Wx, Wh, bx, bh)

    return {
        "convolution": conv,
        "convolutionGradients": lambda x, w: gradients(lambda x, w: conv(x, w).square().sum() / 2, x, w),
        "maxPool": lambda x: f.max_pool2d(x, 3, 2, 1),
        "sort": lambda x: torch.sort(x, -1).values,
        "topk": lambda x: torch.topk(x, count).values,
        "einsum": lambda a, b, c: torch.einsum(options["formula"], a, b, c),
        "svd": svd,
        "perSample": per_sample,
        "gru": gru,
        "matmul": matmul,
        "sumRows": lambda x: x.sum(0),
        "sumAll": lambda x: x.sum(),
        "transpose": lambda x: x.T.contiguous(),
        "chain": lambda x, y: torch.relu(x * y + 0.5) * x,
        "softmax": lambda x: torch.softmax(x, -1),
        "layerNorm": lambda x: f.layer_norm(x, x.shape[-1:]),
        "loraStep": training(lora, 3),
        "mlpStep": training(mlp, 2),
        "gptStep": training(gpt, 2),
        "tiny": lambda x, y: adds(x, y, count),
    }


def listed(results):
    return list(results) if isinstance(results, (list, tuple)) else [results]


ready = {}
say(about=f"NumPy {np.__version__}" if library == "numpy" else f"PyTorch {torch.__version__}")
for line in sys.stdin:
    question = json.loads(line)
    try:
        if "prepare" in question:
            kinds = numpy_kinds if library == "numpy" else torch_kinds
            options = {"names": list(question["inputs"]), **question.get("options", {})}
            kind = kinds(question["count"], options).get(question["kind"])
            if kind:
                inputs = [
                    np.fromfile(f"{folder}/{name}", x["dtype"]).reshape(x["shape"])
                    for name, x in question["inputs"].items()
                ]
                if library == "torch":
                    inputs = [torch.from_numpy(x) for x in inputs]
                step = question["kind"].endswith("Step")
                ready[question["prepare"]] = kind(*inputs) if step else lambda k=kind, i=inputs: listed(k(*i))
            say(known=kind is not None)
        elif "answer" in question:
            results = ready[question["answer"]]()
            for i, result in enumerate(results):
                np.asarray(result, np.float32).tofile(f"{folder}/answer{i}")
            say(files=[f"answer{i}" for i in range(len(results))])
        else:
            clocks = {"wall": time.perf_counter, "processor": time.process_time}
            start = {name: clock() for name, clock in clocks.items()}
            ready[question["run"]]()
            say(**{name: 1000 * (clock() - start[name]) for name, clock in clocks.items()})
    except Exception as error:  # told to the other side, which reports it
        say(error=f"{type(error).__name__}: {error}")
