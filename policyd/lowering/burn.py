"""The alerts that an SLO gets when it does not bring its own."""

from __future__ import annotations

from policyd.model.slo import BurnAlert

_HOUR = 3_600
_DAY = 24 * _HOUR

# Share of the error budget, over the long window, confirmed over the short one.
_ALERTS = (
    ("page-fast", 0.02, _HOUR, 300),
    ("page-slow", 0.05, 6 * _HOUR, 1_800),
    ("ticket-fast", 0.10, _DAY, 2 * _HOUR),
    ("ticket-slow", 0.10, 3 * _DAY, 6 * _HOUR),
)


def standard_alerts(objective: float, window_s: int) -> tuple[BurnAlert, ...]:
    """Multiwindow, multi-burn-rate alerts.

    Pages at 2 % of the budget in 1 h and at 5 % in 6 h, tickets at 10 % in 1 d and in 3 d.
    The factor is share x window / long window: 14.4, 6, 3 and 1 for 30 days. An alert that could never fire, since
    even 100 % errors burn less than its factor, is left out, and so is one whose long window does not fit.
    Source: Google SRE Workbook, chapter 5, table 5-8 and section 6.
    """
    alerts = []
    for name, share, long_s, short_s in _ALERTS:
        factor = round(share * window_s / long_s, 4)
        if long_s < window_s and factor >= 1 and factor * (1 - objective) < 1:
            alerts.append(BurnAlert(name, factor, long_s, short_s))
    return tuple(alerts)
