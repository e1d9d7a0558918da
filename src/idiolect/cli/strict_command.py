"""The class of all commands: an option that takes one value may be given once only."""

from __future__ import annotations

from collections import Counter

import click


class StrictCommand(click.Command):
    """A command that refuses a repeated option with one value. Click would keep the last value and
    drop the others, so that one of two deletions would not happen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments as click does. Raises click.UsageError for an option that is given
        several times, unless it is repeatable or a switch that can only be on."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for option, count in Counter(order).items():
                if count > 1 and isinstance(option, click.Option) and _takes_one_value(option):
                    raise click.UsageError(
                        f"{' / '.join([*option.opts, *option.secondary_opts])} is given {count} "
                        "times and takes one value; give it once, and run the command once for "
                        "each value",
                        ctx,
                    )
        return super().parse_args(ctx, args)


def _takes_one_value(option: click.Option) -> bool:
    """Whether a second value would replace the first. A repeated switch says the same twice, except
    if it can also be turned off (``--afresh / --continue``)."""
    if option.is_flag:
        return bool(option.secondary_opts)
    return not (option.multiple or option.count)
