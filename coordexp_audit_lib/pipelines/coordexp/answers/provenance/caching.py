"""The keys of a tree's caches: its own fingerprints, of its own typed config.

Stand-ins: the template, an object with what a template says of itself (name, lengths, pixels, tokenizer), and the
arguments of the run, those that the config's loader gives to upstream.
"""

import json
import types

from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.provenance.manifest import overlay
from coordexp_audit_lib.pipelines.coordexp.harness.configs import materialise, plain, sha, workspace

SEED = 17


class Words:
    """Says of a tokenizer what can be asked of one without its files."""

    def __init__(self, name, tokens):
        self.name_or_path, self.vocab = name, ["<|im_end|>", *tokens]
        self.chat_template, self.init_kwargs = None, {"name_or_path": name}

    def __len__(self):
        return len(self.vocab)

    def get_vocab(self):
        return {token: i for i, token in enumerate(self.vocab)}

    get_added_vocab = get_vocab


def asked(request, here, build, given):
    """The digest of the fingerprint that `build` makes of the run, wherever the tree's copy lies."""
    with workspace(here, {"config": request["config"], "files": overlay(here, request)}) as place:
        config, arguments = materialise({"depth": "arguments"}, here, place)
        template = template_of(config, arguments, request["tokens"])
        run = types.SimpleNamespace(**{"max_model_len": None, **arguments})
        told = {
            **{"training_config": config, "custom_config": config.custom, "template": template, "train_args": run},
            **{"dataset_seed": SEED, **given(config, template, run)},
        }
        made = here.ask(build, **told)
        return {"key": sha(json.dumps(plain(made), sort_keys=True).replace(place.root, "<repo>"))}


def template_of(config, arguments, tokens):
    """A template as the entrypoint would have made it of these settings."""
    settings = dict(config.template or {})
    words = Words(str(dict(config.model or {}).get("model")), tokens)
    meta = types.SimpleNamespace(template_type=settings.get("template"))
    pixels = settings.get("max_pixels")
    processor = types.SimpleNamespace(tokenizer=words, image_processor=types.SimpleNamespace(max_pixels=pixels))
    return types.SimpleNamespace(
        **{"tokenizer": words, "processor": processor, "template_meta": meta, "max_pixels": pixels},
        max_length=arguments.get("max_length") or getattr(config, "global_max_length", None),
        system=settings.get("system"),
    )


@binds("provenance.plan_key", key=symbols.PLAN_FINGERPRINT, parse=symbols.PARSE_PACKING)
def plan_key(request, here):
    def given(config, template, run):
        packing = here.call(here.parse, config.training, template, run)
        return {"packing_cfg": packing, "train_jsonl": config.custom.train_jsonl, "fusion_config_path": None}

    return asked(request, here, here.key, given)


@binds("provenance.samples_key", key=symbols.SAMPLES_FINGERPRINT)
def samples_key(request, here):
    def given(config, template, run):
        prompts = {"system_prompt_dense": template.system, "system_prompt_summary": None}
        return {
            "dataset_jsonl": config.custom.train_jsonl,
            "dataset_split": "train",
            "dataset_mode": "dense",
            **prompts,
        }

    return asked(request, here, here.key, given)
