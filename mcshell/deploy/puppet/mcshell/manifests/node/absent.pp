# All that the other classes brought is taken off; state and identity stay, unless purge is said.
#
# @api private
class mcshell::node::absent {
  $etc = $mcshell::node::etc
  $units = $mcshell::node::units

  if $mcshell::node::manage_service {
    service { 'mcshell-node':
      ensure => stopped,
      enable => false,
      before => File["${etc}/node.toml"],
    }
  }
  $own = ['node.toml', 'policies', 'agents', 'broker.pass', 'coming'].map |$name| { "${etc}/${name}" }
  $venv = $mcshell::node::package ? { '' => [], default => [$mcshell::node::venv] }
  $unit = $units ? { '' => [], default => ["${units}/mcshell-node.service"] }
  $rest = $mcshell::node::purge ? { true => [$etc, $mcshell::node::lib], default => [] }
  file { $own + $venv + $unit + $rest:
    ensure => absent,
    force  => true,
    backup => false,
  }
}
