"""The parts of the stack, in the order in which they start."""

from parts.charts import Charts
from parts.epmd import Epmd
from parts.etcd import Etcd
from parts.functions import Functions
from parts.kube_apiserver import KubeApiserver
from parts.kube_controller_manager import KubeControllerManager
from parts.kube_scheduler import KubeScheduler
from parts.kwok import Kwok
from parts.load_balancer import LoadBalancer
from parts.ours import Dispatcher, TenantApi, TenantService
from parts.postgres import Postgres
from parts.powerdns import ChildDns, ParentDns
from parts.prometheus_operator import PrometheusOperator
from parts.rabbitmq import RabbitMq
from parts.resolver import Resolver

ALL = (Postgres, Epmd, RabbitMq, ParentDns, ChildDns, Resolver, Etcd, KubeApiserver, KubeControllerManager, KubeScheduler,
       Kwok, LoadBalancer, PrometheusOperator, Charts,
       TenantApi, Functions, Dispatcher, TenantService)
