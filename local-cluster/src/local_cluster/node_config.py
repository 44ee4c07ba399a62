"""The configuration files of the node's components, as text; pure."""

import json
from dataclasses import dataclass
from pathlib import Path

from .control_planes import Layout
from .network import API_PORT, NODE_ADDRESS, POD_RANGE

NODE_NAME = "finetune-node"
#: Every pod's cgroup is below this one, so that stopping knows what to remove.
CGROUP = "finetune-node"
PAUSE_IMAGE = "localhost/finetune-pause:1"
CNI_PLUGINS = "/usr/lib/cni"  # Debian's containernetworking-plugins


@dataclass(frozen=True, slots=True)
class Files:
    """Where the node's parts are in its state folder. `images` survives stopping, all else is thrown away."""

    state: Path

    @property
    def control_plane(self) -> Path:
        """The control plane's folder."""
        return self.state / "control-plane"

    @property
    def work(self) -> Path:
        """containerd's and kubelet's run-time files."""
        return self.state / "work"

    @property
    def images(self) -> Path:
        """containerd's images and snapshots."""
        return self.state / "images"

    @property
    def socket(self) -> Path:
        """containerd's socket, reachable from the host."""
        return self.work / "containerd.sock"


def plan(files: Files) -> Layout:
    """Return the plan of the node's control plane; fixed ports, for the namespace is its own."""
    return Layout(
        name=NODE_NAME,
        folder=files.control_plane,
        address=NODE_ADDRESS,
        api_port=API_PORT,
        etcd_port=2379,
        etcd_peer_port=2380,
        on_node=True,
    )


def containerd(files: Files) -> str:
    """Return containerd's configuration (TOML)."""
    return f"""\
version = 3
root = "{files.images}"
state = "{files.work}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri",
]

[grpc]
  address = "{files.socket}"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
  # runc may not lower oom_score_adj where the machine lacks CAP_SYS_RESOURCE; without this, no pod starts there.
  restrict_oom_score_adj = true
  # A loaded AppArmor profile would outlive the node.
  disable_apparmor = true
  netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{CNI_PLUGINS}"]
  conf_dir = "{files.work}/cni"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "/usr/sbin/runc"
  SystemdCgroup = false
"""


def cni(files: Files) -> str:
    """Return the network of pods: routed point-to-point links.

    Not a bridge: on one, two pods' traffic passes Services' address translation only with the br_netfilter module.
    """
    return json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "finetune",
            "plugins": [
                {
                    "type": "ptp",
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": POD_RANGE}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": f"{files.work}/cni-addresses",
                    },
                }
            ],
        },
        indent=2,
    )


def kubelet(files: Files) -> str:
    """Return kubelet's configuration (JSON, which is YAML)."""
    credentials = files.control_plane
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "healthzBindAddress": "127.0.0.1",
            "tlsCertFile": f"{credentials}/kubelet.crt",
            "tlsPrivateKeyFile": f"{credentials}/kubelet.key",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{credentials}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{files.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{CGROUP}",
            # Per-QoS cgroups are what turns CPU requests into CPU weights between pods.
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "failCgroupV1": False,
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            # There is no DNS: nobody listens on a pod's own loopback, so look-ups fail at once, not after a time-out.
            "clusterDNS": ["127.0.0.1"],
            "clusterDomain": "cluster.local",
            "resolvConf": f"{files.work}/resolv.conf",
            "podLogsDir": f"{files.work}/pod-logs",
            "volumePluginDir": f"{files.work}/volume-plugins",
            # Nothing could pull a collected image again.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi"},
            "serializeImagePulls": False,
            "syncFrequency": "10s",
            "logging": {"verbosity": 1},
        },
        indent=2,
    )


def kube_proxy(files: Files) -> str:
    """Return kube-proxy's configuration (JSON, which is YAML)."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": f"{files.control_plane}/proxy.kubeconfig"},
            "hostnameOverride": NODE_NAME,
            "bindAddress": NODE_ADDRESS,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clusterCIDR": POD_RANGE,
            "detectLocalMode": "ClusterCIDR",
            # Zero leaves the kernel's limits alone: they belong to the machine, not to the namespace.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
        },
        indent=2,
    )
