"""From tasks and histories to tokens: prompt context, chat template, truncation, batches."""
