"""What CoordExp promises of its data, as values."""

CONTRACT = {
    # What starts a training, Stage-1 first.
    "geometry.launchers": ("scripts/train.sh", "scripts/train_stage2.sh"),
    # `template.max_pixels` of both anchored configs: 768·32·32.
    "geometry.max_pixels": 786432,
}
