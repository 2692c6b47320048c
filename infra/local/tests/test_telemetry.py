import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import telemetry  # noqa: E402


def resource(**attributes):
    return {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]}


class Loki(unittest.TestCase):
    def setUp(self):
        self.loki = telemetry.System()
        line = {"timeUnixNano": "7", "body": {"stringValue": "tried out: word"}}
        sent = {"resourceLogs": [{"resource": resource(namespace="a", tenant_id="one"), "scopeLogs": [{"logRecords": [line]}]}]}
        self.loki.take("1", json.dumps(sent))

    def found(self, tenant, query):
        return telemetry.streams(self.loki, tenant, query)["data"]["result"]

    def test_a_line_is_found_by_its_tenant_its_label_and_a_word(self):
        stream = {"stream": {"namespace": "a", "tenant_id": "one"}, "values": [["7", "tried out: word"]]}
        self.assertEqual(self.found("1", '{namespace="a"} |= "word"'), [stream])
        self.assertEqual(self.found("1", '{namespace="a"}'), [stream])
        for tenant, query in (("2", '{namespace="a"}'), ("1", '{namespace="b"}'), ("1", '{namespace="a"} |= "other"')):
            self.assertEqual(self.found(tenant, query), [], f"{tenant} {query}")

    def test_nobody_writes_without_a_name_and_what_is_no_query_is_refused(self):
        for status, call in ((401, lambda: self.loki.take(None, "{}")), (400, lambda: self.found("1", "everything"))):
            with self.assertRaises(telemetry.Refused) as refused:
                call()
            self.assertEqual(refused.exception.status, status)


class Tempo(unittest.TestCase):
    def test_a_trace_is_found_by_its_tenant_alone(self):
        tempo = telemetry.System()
        batch = {"resource": resource(tenant_id="one"), "scopeSpans": [{"spans": [{"traceId": "ab"}]}]}
        tempo.take("1", json.dumps({"resourceSpans": [batch]}))
        self.assertEqual(telemetry.trace(tempo, "1", "ab"), {"batches": [batch]})
        for tenant, trace_id in (("2", "ab"), ("1", "cd")):
            with self.assertRaises(telemetry.Refused) as refused:
                telemetry.trace(tempo, tenant, trace_id)
            self.assertEqual(refused.exception.status, 404)


if __name__ == "__main__":
    unittest.main()
