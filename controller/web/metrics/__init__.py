"""/metrics in the Prometheus text format; its JSON is in web/contract.py.

Each metric is declared once, as a row: figures.py has what the leader knows of the workers, replica.py what each
replica knows of itself. From the rows come the text, the table in docs/http-and-metrics.md, the names of before
(deprecated for one release) and what OpenTelemetry exports. To add a metric, add its row to one of the two files, and
its line to tests/web/test_metrics.py.
"""

from controller.web.metrics.exposition import DEPRECATED, METRICS, collected, prometheus_text
from controller.web.metrics.model import Metric, Sample

__all__ = ["DEPRECATED", "METRICS", "Metric", "Sample", "collected", "prometheus_text"]
