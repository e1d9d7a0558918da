"""Django settings of the site.

Read from the environment: ``IDIOLECT_HOME``, ``IDIOLECT_HOSTS``, ``IDIOLECT_PROXY``,
``DATABASE_URL``, ``IDIOLECT_BASE``, and the limits in ``config/limits.py``. All are optional, and
the defaults are safe: only this machine can reach the site. Only Django imports this module, which
creates the site's folder and secret key if they do not exist.
"""

from __future__ import annotations

import os

from idiolect.web.config.addresses import parse_proxies
from idiolect.web.config.data_dir import make_data_dir
from idiolect.web.config.database import parse_database_url
from idiolect.web.config.hosts import parse_hosts
from idiolect.web.config.limits import parse_limits
from idiolect.web.config.secrets import load_secret_key

# Where the site keeps its data, and who can reach it.
HOME = make_data_dir()
_HOSTS = parse_hosts(os.environ.get("IDIOLECT_HOSTS", ""))

SECRET_KEY = load_secret_key(HOME)
ALLOWED_HOSTS = list(_HOSTS.names)
CSRF_TRUSTED_ORIGINS = list(_HOSTS.origins)
PROXIES = parse_proxies(os.environ.get("IDIOLECT_PROXY", ""))
"""The networks whose requests say in headers which client and scheme they come from."""
LIMITS = parse_limits(os.environ)
# Never, also not on this machine: a debug page shows settings and variables, and a proxy passes
# requests of other machines on under a local name and address. The log has each traceback.
DEBUG = False

# Apps, middleware and templates.
INSTALLED_APPS = [
    "idiolect.web",
    "idiolect.web.accounts",
    "idiolect.web.game",
    "idiolect.web.my_model",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
]
# The order matters: static files need headers but no session, and the user needs the session.
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
    "idiolect.web.accounts.hashers.AnswerWhenBusy",
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

# Data.
DATABASES = {"default": parse_database_url(os.environ.get("DATABASE_URL", ""), HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BASE = os.environ.get("IDIOLECT_BASE", "") or "default"
"""The base model of the players' own models: ``default``, a folder, or ``hub:`` and a hub id."""

# Accounts and passwords.
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["idiolect.web.accounts.backends.Accounts"]
PASSWORD_HASHERS = ["idiolect.web.accounts.hashers.Argon2InTurn"]
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
"""Functions from a name to a bool; a person cannot choose a name for which one returns True."""
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

# Sessions, cookies and https.
SESSION_ENGINE = "idiolect.web.sessions"
SESSION_COOKIE_AGE = 90 * 86_400
"""90 days since the last day of play: a guest exists only through this cookie, and ends with it."""
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HOSTS.https
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_HTTPONLY = True  # scripts take the token from the page
CSRF_FAILURE_VIEW = "idiolect.web.views.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 30 * 86_400 if _HOSTS.https else 0
# The site itself speaks only http: a proxy handles https and says so in this header.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HOSTS.https else None

DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # the largest form is a round of answers
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500

# Static files.
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # serve files from the packages, without collectstatic
WHITENOISE_MAX_AGE = 600
WHITENOISE_ALLOW_ALL_ORIGINS = False

# Language, time and logs.
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "idiolect.web.edge.logs.OneLineFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "filters": {"repeats": {"()": "idiolect.web.edge.logs.RepeatLimit"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "filters": ["repeats"],
        },
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # do not log each missing page
        # A visitor writes the Host header: the answer 400 says enough.
        "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},
        "idiolect": {"level": "INFO"},
    },
}
