# The unit, what differs from it here, and the daemon.
#
# @api private
class mcshell::node::service {
  $units = $mcshell::node::units

  if $units != '' {
    $start = "ExecStart=${mcshell::node::command} node --config ${mcshell::node::etc}/node.toml"
    file { "${units}/mcshell-node.service":
      content => regsubst(file('mcshell/mcshell-node.service'), '^ExecStart=.*$', $start),
      mode    => '0644',
      notify  => Exec['mcshell: restart'],
    }
  }
  $commands = {
    'mcshell: restart' => $mcshell::node::restart,
    'mcshell: reload'  => $mcshell::node::reload,
  }
  $commands.each |$title, $command| {
    exec { $title:
      command     => $command ? { [] => 'true', default => $command },
      path        => $mcshell::node::path,
      refreshonly => true,
    }
  }
  Exec['mcshell: restart'] -> Exec['mcshell: reload']
  if $mcshell::node::manage_service {
    exec { 'mcshell: systemd reads its units':
      command     => ['systemctl', 'daemon-reload'],
      path        => $mcshell::node::path,
      refreshonly => true,
      subscribe   => File["${units}/mcshell-node.service"],
      before      => Exec['mcshell: restart'],
    }
    # A node that waits for its broker is still starting: it runs, and nobody waits for it.
    service { 'mcshell-node':
      ensure  => running,
      enable  => true,
      start   => 'systemctl --no-block start mcshell-node',
      status  => 'systemctl show --property=ActiveState --value mcshell-node | grep -qxE "active|activating|reloading"',
      require => Exec['mcshell: reload'],
    }
  }
}
