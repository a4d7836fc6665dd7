"""Publishing tested images: policy, push, tags, attached documents."""
