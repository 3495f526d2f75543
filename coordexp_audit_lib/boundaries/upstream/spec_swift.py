"""What CoordExp at b46e74f uses of ms-swift: requests, rollout server and client, template."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.upstream.spec import Call, Contract, Field, Part

ROLLOUT = "src/trainers/rollout_matching_sft.py"
REQUEST, INFER, CLIENT = "upstream.request_config", "upstream.infer_request", "upstream.client_surface"
TEMPLATE, CLI = "upstream.template_surface", "upstream.rollout_cli"
CLIENT_CLASS = "swift.trainers.rlhf_trainer.vllm_client:VLLMClient"
UTILITIES = "swift.trainers.rlhf_trainer.utils"
SERVER = "swift.llm.infer.rollout:SwiftRolloutDeploy"
ROUTES = (
    "/health/",
    "/get_world_size/",
    "/infer/",
    "/get_engine_type/",
    "/init_communicator/",
    "/close_communicator/",
    "/reset_prefix_cache/",
    "/update_flattened_params/",
    "/update_adapter_flattened_param/",
)
FLAGS = (
    Field("model", "str"),
    Field("host", "str"),
    Field("port", "int"),
    Field("infer_backend", "Literal['vllm']"),
    Field("torch_dtype"),
    Field("vllm_data_parallel_size", "int"),
    Field("vllm_tensor_parallel_size", "int"),
    Field("vllm_enforce_eager", "bool"),
    Field("vllm_gpu_memory_utilization", "float"),
    Field("vllm_max_model_len", "int"),
    Field("vllm_enable_lora", "bool"),
)


def _contract(id: str, invariant: str, title: str, used: str, *parts: Part) -> Contract:
    return Contract(id, "ms-swift", invariant, title, used, parts)


def _client(name: str, call: Call) -> Part:
    return Part(f"{CLIENT_CLASS}.{name}", (f"swift.rlhf_trainers.vllm_client:VLLMClient.{name}",), call, imported=False)


def _template(name: str, call: Call) -> Part:
    return Part(f"swift.llm:Template.{name}", (f"swift.template.base:Template.{name}",), call, imported=False)


REQUESTS = (
    _contract(
        "swift.request_config",
        REQUEST,
        "RequestConfig",
        ROLLOUT,
        Part(
            "swift.llm:RequestConfig",
            ("swift:RequestConfig", "swift.infer_engine.protocol:RequestConfig"),
            Call(
                0, ("n", "max_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "stop", "return_details")
            ),
            fields=(
                Field("n", "int", "1"),
                Field("max_tokens", "int", "None"),
                Field("temperature", "float", "None"),
                Field("top_p", "float", "None"),
                Field("top_k", "int", "None"),
                Field("repetition_penalty", "float", "None"),
                Field("stop", "list[str]", "list()"),
                Field("seed", "int", "None"),
                Field("return_details", "bool", "False"),
                Field("stream", "bool", "False"),
                Field("logprobs", "bool", "False"),
                Field("num_beams", "int", "1"),
                Field("presence_penalty", "float", "0.0"),
                Field("frequency_penalty", "float", "0.0"),
            ),
        ),
    ),
    _contract(
        "swift.infer_request",
        INFER,
        "InferRequest",
        ROLLOUT,
        Part(
            "swift.llm:InferRequest",
            ("swift:InferRequest", "swift.infer_engine.protocol:InferRequest"),
            Call(0, ("messages",)),
            fields=(Field("messages"), Field("images", "list[str | Image]", "list()")),
        ),
    ),
    _contract(
        "swift.rollout_infer_request",
        INFER,
        "RolloutInferRequest",
        ROLLOUT,
        Part(
            "swift.llm:RolloutInferRequest",
            ("swift.infer_engine.protocol:RolloutInferRequest",),
            Call(0, ("messages", "images")),
            fields=(
                Field("messages"),
                Field("images", "list[str]", "list()"),
                Field("uuid", "str", "None"),
                Field("data_dict", "", "dict()"),
            ),
            imported=False,
        ),
    ),
    _contract(
        "swift.infer_route",
        INFER,
        "POST /infer/: routes and payload keys",
        ROLLOUT,
        Part(SERVER, ("swift.pipelines.infer.rollout:SwiftRolloutDeploy",), words=ROUTES, imported=False),
        Part(
            f"{SERVER}.infer",
            ("swift.pipelines.infer.rollout:SwiftRolloutDeploy.infer",),
            Call(0, ("infer_requests", "request_config", "use_tqdm")),
            imported=False,
        ),
        Part(
            f"{SERVER}.get_world_size",
            ("swift.pipelines.infer.rollout:SwiftRolloutDeploy.get_world_size",),
            words=("world_size",),
            imported=False,
        ),
    ),
    _contract(
        "swift.infer_response",
        INFER,
        "response: choices, token_ids, prompt_token_ids",
        ROLLOUT,
        *(
            Part(
                f"swift.llm.infer.protocol:{name}",
                (f"swift.infer_engine.protocol:{name}",),
                fields=fields,
                imported=False,
            )
            for name, fields in (
                ("ChatCompletionResponse", (Field("choices"), Field("prompt_token_ids", "list[int]"))),
                ("ChatCompletionResponseChoice", (Field("message"), Field("token_ids", "list[int]"))),
                ("ChatMessage", (Field("content", "str"),)),
                ("RolloutOutput", (Field("response"),)),
            )
        ),
    ),
)

SERVERS = (
    _contract(
        "swift.rollout_cli",
        CLI,
        "swift rollout: the command and its flags",
        "scripts/train_stage2.sh",
        Part("swift.cli.main:ROUTE_MAPPING", keys=("rollout",), imported=False),
        Part(
            "swift.llm.argument:RolloutArguments", ("swift.arguments:RolloutArguments",), fields=FLAGS, imported=False
        ),
    ),
    _contract(
        "swift.client",
        CLIENT,
        "VLLMClient: constructor",
        ROLLOUT,
        Part(
            CLIENT_CLASS,
            ("swift.rlhf_trainers.vllm_client:VLLMClient",),
            Call(0, ("base_urls", "group_ports", "connection_timeout")),
            members=("sessions", "base_urls"),
        ),
    ),
    _contract(
        "swift.client_methods",
        CLIENT,
        "VLLMClient: methods for weight sync",
        ROLLOUT,
        _client("get_engine_type", Call()),
        _client("init_communicator", Call(0, ("device",))),
        _client("close_communicator", Call()),
        _client("reset_prefix_cache", Call()),
        _client("update_flattened_params", Call(2, order=("metadatas", "flattened_tensor"))),
        _client("update_adapter_flattened_param", Call(3, order=("peft_config", "metadatas", "flattened_tensor"))),
    ),
    _contract(
        "swift.weight_sync",
        CLIENT,
        "FlattenedTensorBucket and the LoRA helpers",
        ROLLOUT,
        Part(
            f"{UTILITIES}:FlattenedTensorBucket",
            ("swift.rlhf_trainers.utils:FlattenedTensorBucket",),
            Call(0, ("named_tensors",)),
            members=("get_metadata", "get_flattened_tensor"),
        ),
        *(
            Part(f"{UTILITIES}:{name}", (f"swift.rlhf_trainers.utils:{name}",), call)
            for name, call in (
                ("patch_vllm_load_adapter", Call()),
                ("get_gather_if_zero3_context", Call(1)),
                ("patch_lora_merge", Call(1)),
                ("patch_lora_unmerge", Call(1)),
                ("replace_assistant_response_with_ids", Call(2)),
                ("identity_data_collator", Call(1)),
            )
        ),
        Part(f"{UTILITIES}:TensorLoRARequest", ("swift.rlhf_trainers.utils:TensorLoRARequest",)),
    ),
    _contract(
        "swift.vllm_engine",
        CLIENT,
        "VllmEngine, colocated",
        ROLLOUT,
        Part(
            "swift.llm:VllmEngine",
            ("swift:VllmEngine", "swift.infer_engine:VllmEngine"),
            Call(
                1,
                (
                    "torch_dtype",
                    "template",
                    "tensor_parallel_size",
                    "gpu_memory_utilization",
                    "max_model_len",
                    "max_num_seqs",
                    "enforce_eager",
                    "disable_custom_all_reduce",
                    "limit_mm_per_prompt",
                    "load_format",
                    "enable_lora",
                    "max_loras",
                    "max_lora_rank",
                    "enable_prefix_caching",
                    "engine_kwargs",
                    "distributed_executor_backend",
                ),
            ),
            members=("engine",),
        ),
        Part(
            "swift.llm:VllmEngine.infer",
            ("swift:VllmEngine.infer", "swift.infer_engine:VllmEngine.infer"),
            Call(1, ("request_config", "use_tqdm")),
            imported=False,
        ),
    ),
)

TEMPLATES = (
    _contract(
        "swift.template",
        TEMPLATE,
        "Template: encode, packing_row, data_collator",
        "src/datasets, src/trainers",
        _template("encode", Call(1, ("return_length",))),
        _template("packing_row", Call(1)),
        _template("data_collator", Call(1, ("padding_to",))),
        Part(
            "swift.llm:Template.set_mode",
            ("swift.template.base:Template.set_mode",),
            Call(1),
            words=("train", "pt", "vllm"),
            imported=False,
        ),
        _template("generate_context", Call()),
        _template("pre_forward_hook", Call(3)),
        _template("skip_stop_tokens", Call(1, ("is_finished",))),
        _template("decode", Call(1, ("is_finished", "first_token", "clean_up_tokenization_spaces"))),
        Part(
            "swift.llm:Template",
            ("swift.template.base:Template",),
            imported=False,
            members=("packing", "padding_free", "max_length", "max_pixels", "tokenizer", "mode"),
        ),
        Part("swift.llm:MaxLengthError", ("swift.template.base:MaxLengthError", "swift.template:MaxLengthError")),
    ),
    _contract(
        "swift.template_qwen3vl",
        TEMPLATE,
        "the registered qwen3_vl template",
        "template: qwen3_vl",
        Part(
            "swift.llm.template.constant:MLLMTemplateType",
            ("swift.template.constant:MLLMTemplateType",),
            members=("qwen3_vl",),
            imported=False,
        ),
        Part(
            "swift.llm.template.template.qwen:Qwen3VLTemplate",
            ("swift.template.templates.qwen:Qwen3VLTemplate",),
            members=("packing_row", "_data_collator", "support_padding_free"),
            imported=False,
        ),
        Part(
            "swift.llm.template.template.qwen",
            ("swift.template.templates.qwen",),
            imported=False,
            expressions=("MLLMTemplateType.qwen3_vl",),
        ),
    ),
    _contract(
        "swift.packed_keys",
        TEMPLATE,
        "keys of a packed batch",
        "src/trainers, src/data_collators",
        Part(
            "swift.llm:Template.packing_row",
            ("swift.template.base:Template.packing_row",),
            imported=False,
            words=("input_ids", "labels", "length", "position_ids"),
        ),
        Part(
            "swift.llm.template.template.qwen:Qwen2VLTemplate",
            ("swift.template.templates.qwen:Qwen2VLTemplate",),
            imported=False,
            words=("image_grid_thw", "position_ids", "text_position_ids"),
        ),
    ),
)

CONTRACTS = (*REQUESTS, *SERVERS, *TEMPLATES)
