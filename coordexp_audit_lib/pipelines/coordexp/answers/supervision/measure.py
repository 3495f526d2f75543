"""What reaches the logits of a real forward and backward pass, token by token.

Measuring changes nothing: forward hooks note what the model was called with, `retain_grad` keeps gradients at the
logits, and a wrapper round `cross_entropy` notes the labels it was given and keeps the gradient of each token's loss.
"""

import contextlib
import functools

from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import short


@functools.lru_cache(maxsize=1)
def ending():
    """A step that changes nothing, and at which gradients end: what is below costs a third of a backward pass."""
    import torch

    class Ending(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits):
            return logits.detach()

        @staticmethod
        def backward(ctx, grad):
            return None

    return Ending.apply


class Recorder:
    """What a model was called with, its logits, and the labels of the token cross-entropy.

    ends: whether gradients end at the logits, where nobody looks further down.
    """

    def __init__(self, model, ends=False):
        self.model, self.calls, self.logits, self.tokens, self.ends = model, [], [], [], ends

    @contextlib.contextmanager
    def watching(self):
        import torch.nn.functional as F

        original = F.cross_entropy
        before = self.model.register_forward_pre_hook(lambda m, args, given: self.calls.append(given), with_kwargs=True)
        after = self.model.register_forward_hook(self.after)

        def noted(*args, **kwargs):
            loss = original(*args, **kwargs)
            target = args[1] if len(args) > 1 else kwargs["target"]
            ignored = kwargs.get("ignore_index", IGNORE_INDEX) == IGNORE_INDEX
            if kwargs.get("reduction") == "none" and ignored and loss.requires_grad:
                loss.retain_grad()
                self.tokens.append((target.detach(), loss))
            return loss

        with before, after, replaced(F, cross_entropy=noted):
            yield self

    def after(self, module, args, output):
        if output.logits.requires_grad:
            if self.ends:
                output.logits = ending()(output.logits)
            output.logits.retain_grad()
        self.logits.append(output.logits)


def measure(segments, rows, seen, request):
    """Fill in, for each assistant token, what the loss did at the logits that predict it."""
    logits = seen.logits[-1]
    labels, share = token_losses(seen, logits)
    grads = logits.grad if logits.grad is not None else logits.detach() * 0
    slots = []
    for found, (b, start) in zip(segments, rows, strict=False):
        first = start + found["prompt_len"] - 1
        span = slice(first, first + len(found["ids"]))
        text, coord = split_norms(grads[b, span])
        # Of the first, ratios are judged to the hundredth (`supervision.multiplier_scope`): four digits.
        found["text_grad"], found["coord_grad"] = [short(v) for v in text], [short(v, 3) for v in coord]
        found["raised"] = raised(grads[b, span], text)
        if labels is not None:
            found["labels"], found["share"] = labels[b][span], [short(v) for v in share[b][span]]
        slots += [
            (found, i, b, first + i) for i, (t, c) in enumerate(zip(text, coord, strict=False)) if c > 0 and t == 0
        ]
        found["targets"] = [-1] * len(found["ids"])
    if request["ciou_weight"] == 0 and not request.get("all_terms"):
        for found, i, b, row in slots:
            found["targets"][i] = target_bin(logits[b, row].detach(), grads[b, row], len(slots))


def token_losses(seen, logits):
    """Labels and each token's share of the loss, as the project's own cross-entropy call got them, or (None, None)."""
    size = (logits.shape[0], logits.shape[1] - 1)
    for target, loss in seen.tokens:
        if target.numel() == size[0] * size[1] and loss.grad is not None:
            # Row t of both predicts token t + 1; the last position predicts nothing.
            return target.reshape(size).tolist(), loss.grad.reshape(size).tolist()
    return None, None


def split_norms(rows):
    """Norms of the gradient rows on the text columns and on the coordinate columns."""
    coord = rows[:, COORD_0 : COORD_0 + COORD_BINS].norm(dim=-1)
    before, after = rows[:, :COORD_0], rows[:, COORD_0 + COORD_BINS :]
    text = (before.pow(2).sum(-1) + after.pow(2).sum(-1)).sqrt()
    return text.tolist(), coord.tolist()


def raised(rows, text):
    """The token that each row's gradient raises, -1 where there is no cross-entropy."""
    best = rows.numpy().argmin(-1).tolist()  # four times as fast as torch's
    return [int(k) if norm > 0 else -1 for k, norm in zip(best, text, strict=False)]


def target_bin(logits, grad, slots):
    """The bin that the gradient moves a slot to, solved from nothing else.

    With SmoothL1 only, loss = mean over slots of (E - t)^2 / 2 and E = sum of p(k) k/999, so that the gradient at
    logit k is (E - t) / slots * p(k) (k/999 - E): solved for t by least squares over k.
    """
    import torch

    p = torch.softmax(logits[COORD_0 : COORD_0 + COORD_BINS].double(), -1)
    k = torch.arange(COORD_BINS, dtype=torch.float64) / 999
    mean = (p * k).sum()
    direction = p * (k - mean)
    slope = (grad[COORD_0 : COORD_0 + COORD_BINS].double() * direction).sum() / direction.pow(2).sum()
    return round(float((mean - slope * slots) * 999))
