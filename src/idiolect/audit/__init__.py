"""What an artifact gives away of the people whose words it was made from."""

from idiolect.audit.membership import (
    LeakageConfig,
    Membership,
    Subject,
    Verdict,
    audit_membership,
    judged,
)

__all__ = [
    "LeakageConfig",
    "Membership",
    "Subject",
    "Verdict",
    "audit_membership",
    "judged",
]
