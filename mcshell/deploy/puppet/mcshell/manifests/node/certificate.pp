# The certificate: from files, or for a key that is made here.
#
# @api private
class mcshell::node::certificate {
  $name_ = $mcshell::node::identity
  $pki = "${mcshell::node::etc}/pki"
  $files = $mcshell::node::certificate

  if $files {
    file {
      default:
        mode   => '0644',
        notify => Exec['mcshell: restart'];
      "${pki}/ca.pem":
        source => $files['ca'];
      "${pki}/${name_}.pem":
        source => $files['cert'];
      "${pki}/${name_}.key":
        source    => $files['key'],
        mode      => '0600',
        show_diff => false;
    }
    if $files['crl'] {
      file { "${pki}/crl.pem":
        source => $files['crl'],
        mode   => '0644',
        notify => Exec['mcshell: reload'],
      }
    }
  } else {
    contain mcshell::node::enrolment
  }
}
