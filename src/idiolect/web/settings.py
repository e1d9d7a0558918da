"""Django's settings of the site, from the environment: ``IDIOLECT_HOME``, ``IDIOLECT_HOSTS``,
``DATABASE_URL``, ``IDIOLECT_BASE``, ``IDIOLECT_PROXY``, ``IDIOLECT_DEBUG``.

The site is safe without any of them; what opens it to others is named there. Imported by Django
alone: this makes the site's folder and its secret where they are not there.
"""

from __future__ import annotations

import os

from idiolect.web.data_dir import make_data_dir
from idiolect.web.database import parse_database_url
from idiolect.web.hosts import parse_hosts
from idiolect.web.secrets import load_secret_key

HOME = make_data_dir()
_HOSTS = parse_hosts(os.environ.get("IDIOLECT_HOSTS", ""))

SECRET_KEY = load_secret_key(HOME)
ALLOWED_HOSTS = list(_HOSTS.names)
CSRF_TRUSTED_ORIGINS = list(_HOSTS.origins)
# Django's pages of errors show settings and variables, so never to another machine.
DEBUG = os.environ.get("IDIOLECT_DEBUG", "0") not in ("", "0") and _HOSTS.is_local

INSTALLED_APPS = [
    "idiolect.web",
    "idiolect.web.accounts",
    "idiolect.web.game",
    "idiolect.web.my_model",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "idiolect.web.security.strict_policies",
    "idiolect.web.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "idiolect.web.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["django.templatetags.static", "django_htmx.templatetags.django_htmx"],
        },
    }
]

DATABASES = {"default": parse_database_url(os.environ.get("DATABASE_URL", ""), HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BASE = os.environ.get("IDIOLECT_BASE", "") or "default"
"""The base model of people's own models: ``default``, a folder or a hub id."""

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["idiolect.web.accounts.backends.Accounts"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
NAMES_REFUSED_BY = ("idiolect.game.profanity.is_offensive_name",)
"""Functions that say of a name whether nobody may be called so."""
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

SESSION_ENGINE = "idiolect.web.sessions"
SESSION_COOKIE_AGE = 90 * 86_400  # a guest is their cookie: it lasts a season
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HOSTS.https
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_HTTPONLY = True  # scripts take the token from the page
CSRF_FAILURE_VIEW = "idiolect.web.views.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 30 * 86_400 if _HOSTS.https else 0
# Whoever opened the site by https did so through a proxy, which says so here.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HOSTS.https else None

DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # the largest form is a round of answers
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # files are served from the packages: nothing to collect
WHITENOISE_MAX_AGE = 600
WHITENOISE_ALLOW_ALL_ORIGINS = False

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # pages that are not there are no news
        "idiolect": {"handlers": ["stderr"], "level": "INFO"},
    },
}
