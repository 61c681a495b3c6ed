"""MCollective 2.12's wire: nothing of it is known outside this package.

`marshal` and `yamls` turn bodies into plain values, `psk`, `ssl` and `aes` seal and open them,
`messages` turns them into the `Request` and `Reply` that everybody else knows, `layouts` says
where they go.
"""

from __future__ import annotations
