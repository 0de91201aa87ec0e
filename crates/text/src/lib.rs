//! Prompts, templates and tokenizers.
