"""Kubernetes' own tool, of whichever version is here."""

from __future__ import annotations

import pytest

from tests.support.debian import find

KUBECTL = str(find("usr/bin/kubectl") or "")
needs_kubectl = pytest.mark.skipif(
    not KUBECTL, reason="no kubectl here; `make test` unpacks Debian's, else: apt-get install kubernetes-client"
)
