"""The operations of the test, by the official SDK: sdk.py URL TAGS-AS-JSON."""

import json
import sys

from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.dns import DnsManagementClient
from azure.mgmt.dns.models import ARecord, NsRecord, RecordSet, Zone


class Bearer(SansIOHTTPPolicy):
    """The SDK's own policy sends tokens over TLS only, and the recording server has none."""

    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer token"


url, tags = sys.argv[1], json.loads(sys.argv[2])
client = DnsManagementClient(object(), "sub", base_url=url, authentication_policy=Bearer(), retry_total=0,
                             polling_interval=0)
zones, sets = client.zones, client.record_sets
servers = [NsRecord(nsdname="ns1-01.azure-dns.com"), NsRecord(nsdname="ns2-01.azure-dns.net")]
own_servers = [NsRecord(nsdname="ns1-01.azure-dns.com."), NsRecord(nsdname="ns2-01.azure-dns.net.")]
addresses = [ARecord(ipv4_address="20.85.123.45")]

zones.create_or_update("tenants", "acme.matih.ai", Zone(location="global", tags=tags), if_none_match="*")
sets.get("tenants", "acme.matih.ai", "@", "NS")
sets.create_or_update("tenants", "acme.matih.ai", "@", "NS", RecordSet(ttl=60, ns_records=own_servers), if_match="set-1")
zones.get("tenants", "acme.matih.ai")
sets.create_or_update("platform", "matih.ai", "acme", "NS", RecordSet(ttl=60, metadata=tags, ns_records=servers),
                      if_none_match="*")
sets.create_or_update("tenants", "acme.matih.ai", "@", "A", RecordSet(ttl=60, metadata=tags, a_records=addresses),
                      if_none_match="*")
sets.create_or_update("tenants", "acme.matih.ai", "*", "A", RecordSet(ttl=60, metadata=tags, a_records=addresses),
                      if_match="set-1")
sets.get("platform", "matih.ai", "acme", "NS")
list(sets.list_by_dns_zone("tenants", "acme.matih.ai"))
list(sets.list_by_dns_zone("platform", "matih.ai", recordsetnamesuffix="acme"))
list(zones.list_by_resource_group("tenants"))
sets.delete("tenants", "acme.matih.ai", "@", "A", if_match="set-1")
zones.begin_delete("tenants", "acme.matih.ai", if_match="zone-1").result()
