"""Creates the tables of players' own models."""

from __future__ import annotations

import django.db.models.deletion
import idiolect.web.my_model.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("game", "0001_first"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PredictedAnswers",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("made_at", models.DateTimeField(auto_now_add=True)),
                ("own", models.JSONField()),
                ("plain", models.JSONField()),
                ("answers", models.PositiveSmallIntegerField()),
                ("own_found", models.PositiveSmallIntegerField()),
                ("plain_found", models.PositiveSmallIntegerField()),
                (
                    "round",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="guess",
                        to="game.round",
                    ),
                ),
            ],
            options={
                "db_table": "own_model_guess",
                "verbose_name_plural": "guesses",
            },
        ),
        migrations.CreateModel(
            name="OwnModel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "folder",
                    models.CharField(
                        default=idiolect.web.my_model.models.new_folder,
                        max_length=32,
                        unique=True,
                    ),
                ),
                ("trained_at", models.DateTimeField(default=None, null=True)),
                ("rounds", models.PositiveIntegerField(default=0)),
                ("answers", models.PositiveIntegerField(default=0)),
                ("words", models.JSONField(default=list)),
                (
                    "player",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="own_model",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]
