# A machine as a node of mcshell: the light node, a certificate, configuration, policies, agents, the service.
#
# What is to come lies beside what is in force first, where `mcshell node --check` looks at all of it: when it
# finds something wrong, nothing is replaced.
#
# @param ensure `absent` takes off all but the state and the identity (key, certificates).
# @param purge `absent` takes off these, too.
# @param identity The node's name, which its certificate says.
# @param package What pip installs, as its command line has it; '' when `command` is there from elsewhere.
# @param pip_environment Environment of pip, such as `PIP_INDEX_URL=…`.
# @param python The Python, 3.11 or later, that makes the virtual environment.
# @param venv Where that is.
# @param command The `mcshell` that runs.
# @param etc The folder of configuration, `policies`, `agents` and `pki`.
# @param lib The folder of the state.
# @param settings The tables of node.toml, such as `broker` with its `urls`; they come over the class's own.
# @param policies A source (`puppet:///…`, or a folder here) whose files are the policies, and no others.
# @param agents Likewise.
# @param passcode The broker's, where it wants a login.
# @param show_diff Whether what changes in configuration, policies and agents may be shown.
# @param certificate Sources of files. Without them the machine enrols, and its key never leaves it.
# @param token The enrolment token (`mcshell pki token`). It is in no output, and in no file of the machine.
# @param ca_fingerprint Without a token, the SHA-256 of the CA that is meant; the request waits for a hand.
# @param enrol_broker The broker's listener at which `mcshell pki serve` answers and certificates are renewed, such as
#   `stomp+ssl://mq.example.com:61615`; without it requests are carried as files.
# @param answer The source of the answer to NAME.request, which was carried to the CA.
# @param manage_service Whether systemd runs it.
# @param units Where unit files go; '' for none.
# @param reload What has the daemon take policies, agents and revocation list.
# @param restart What has it take the rest; what it is running goes on and is adopted.
class mcshell::node (
  Enum['present', 'absent'] $ensure = 'present',
  Boolean $purge = false,
  Mcshell::Name $identity = downcase($facts['networking']['fqdn']),
  String $package = 'mcshell-node',
  Array[String[1]] $pip_environment = [],
  String[1] $python = 'python3',
  Mcshell::Path $venv = '/opt/mcshell',
  Mcshell::Path $command = "${venv}/bin/mcshell",
  Mcshell::Path $etc = '/etc/mcshell',
  Mcshell::Path $lib = '/var/lib/mcshell',
  Hash[String, Any] $settings = {},
  Optional[String[1]] $policies = undef,
  Optional[String[1]] $agents = undef,
  Optional[Sensitive[String[1]]] $passcode = undef,
  Boolean $show_diff = true,
  Optional[Struct[{ ca => String[1], cert => String[1], key => String[1], Optional[crl] => String[1] }]] $certificate = undef,
  Optional[Sensitive[String[1]]] $token = undef,
  Optional[Pattern[/\A[0-9A-Fa-f:]+\z/]] $ca_fingerprint = undef,
  Optional[Pattern[/\Astomp(\+ssl)?:\/\/[A-Za-z0-9.:_\[\]-]+\z/]] $enrol_broker = undef,
  Optional[String[1]] $answer = undef,
  Boolean $manage_service = true,
  Variant[Mcshell::Path, Enum['']] $units = '/etc/systemd/system',
  Array[String[1]] $reload = $manage_service ? {
    true    => ['systemctl', '--no-block', 'try-reload-or-restart', 'mcshell-node'],
    default => [],
  },
  Array[String[1]] $restart = $manage_service ? {
    true    => ['systemctl', '--no-block', 'restart', 'mcshell-node'],
    default => [],
  },
) {
  $path = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
  if $ensure == 'absent' {
    contain mcshell::node::absent
  } else {
    contain mcshell::node::install
    contain mcshell::node::certificate
    contain mcshell::node::configuration
    contain mcshell::node::service
    Class['mcshell::node::install']
    -> Class['mcshell::node::certificate']
    -> Class['mcshell::node::configuration']
    -> Class['mcshell::node::service']
  }
}
