"""Normalizes the names that earlier versions stored, and their keys.

Two people may have had names that look the same, or a name of more letters than allowed: the later
one then gets another name, which the log states by number.
"""

from __future__ import annotations

import logging
import re

import django.core.validators
import idiolect.web.accounts.models
from django.db import migrations, models
from idiolect.web.accounts import names

_log = logging.getLogger("idiolect.web.accounts")
_REFUSED = re.compile(r"[^\w.\-]|\A[.\-]+")


def normalize_names(apps, schema_editor):
    """Give each person a valid name with a key of their own."""
    User = apps.get_model("accounts", "User")
    taken = set(User.objects.values_list("key", flat=True))
    for person in User.objects.order_by("pk").iterator():
        name = names.remove_invisible(person.username)
        name = _REFUSED.sub("", name)[: names.MAX_LENGTH]
        name = name if len(name) >= 2 else f"player{person.pk}"
        key = names.compute_name_key(name)
        if (name, key) == (person.username, person.key):
            continue
        if key != person.key and key in taken:
            mark = f"-{person.pk}"
            name = name[: names.MAX_LENGTH - len(mark)] + mark
            key = names.compute_name_key(name)
        if name != person.username:
            _log.warning("person %d could not keep their name; it is now %s", person.pk, name)
        taken.add(key)
        User.objects.filter(pk=person.pk).update(username=name, key=key)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="username",
            field=models.CharField(
                error_messages={"unique": "Another player has that name."},
                help_text="2 to 30 letters and digits; other players see it.",
                max_length=30,
                unique=True,
                validators=[
                    idiolect.web.accounts.models.refuse_invisible,
                    django.core.validators.MinLengthValidator(2, "At least 2 letters, please."),
                    django.core.validators.RegexValidator(
                        "\\A\\w[\\w.\\-]*\\Z", "Letters, digits, and . _ - between them."
                    ),
                ],
                verbose_name="name",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="is_staff",
            field=models.BooleanField(default=False, verbose_name="uses the admin pages"),
        ),
        migrations.RunPython(normalize_names, migrations.RunPython.noop),
    ]
