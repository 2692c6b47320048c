"""The parts of the stack, in the order in which they start."""

from parts.cert_manager import CertManager
from parts.charts import Charts
from parts.epmd import Epmd
from parts.etcd import Etcd
from parts.functions import Functions
from parts.kafka import Kafka
from parts.kube_apiserver import KubeApiserver
from parts.kube_controller_manager import KubeControllerManager
from parts.kube_scheduler import KubeScheduler
from parts.kwok import Kwok
from parts.load_balancer import LoadBalancer
from parts.maildev import Maildev
from parts.ours import Dispatcher, EventRelay, TenantApi, TenantService
from parts.pebble import Pebble
from parts.postgres import Postgres
from parts.powerdns import ChildDns, ParentDns
from parts.prometheus_operator import PrometheusOperator
from parts.rabbitmq import RabbitMq
from parts.resolver import Resolver
from parts.telemetry import Telemetry

ALL = (Postgres, Epmd, RabbitMq, Kafka, Maildev, ParentDns, ChildDns, Resolver, Pebble, Etcd, KubeApiserver,
       KubeControllerManager, KubeScheduler, Kwok, LoadBalancer, Telemetry, CertManager, PrometheusOperator, Charts, TenantApi,
       Functions, Dispatcher, EventRelay, TenantService)
