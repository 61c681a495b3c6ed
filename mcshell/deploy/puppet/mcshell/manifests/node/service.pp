# The unit, what differs from it here, and the daemon.
#
# @api private
class mcshell::node::service {
  $units = $mcshell::node::units

  if $units != '' {
    file {
      default:
        mode   => '0644',
        notify => Exec['mcshell: restart'];
      "${units}/mcshell-node.service":
        content => file('mcshell/mcshell-node.service');
      "${units}/mcshell-node.service.d":
        ensure => directory,
        mode   => '0755';
      "${units}/mcshell-node.service.d/places.conf":
        content => epp('mcshell/places.conf.epp', {
          'command' => $mcshell::node::command,
          'etc'     => $mcshell::node::etc,
        });
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
      subscribe   => File["${units}/mcshell-node.service", "${units}/mcshell-node.service.d/places.conf"],
      before      => Exec['mcshell: restart'],
    }
    service { 'mcshell-node':
      ensure  => running,
      enable  => true,
      require => Exec['mcshell: reload'],
    }
  }
}
