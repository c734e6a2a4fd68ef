"""How a review system tells of answers: words that who registers the webhook and who hears it share."""

from __future__ import annotations

WEBHOOK_PATH = "/hooks/review"
SECRET_HEADER = "X-Tsad-Secret"
